"""Bytes to meaning and back: request bodies, event streams, usage; pure functions, no I/O."""
