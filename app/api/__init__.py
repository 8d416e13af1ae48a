"""The OpenAI edge: what callers of the data plane see."""
