"""The engine behind the API: sequences, a queue, KV blocks, and the clock that makes tokens."""
