"""The routes of a vLLM server, each answering as the recorded one does."""
