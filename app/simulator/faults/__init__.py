"""Faults on demand: what they are, whom they meet, and what they do to an answer."""
