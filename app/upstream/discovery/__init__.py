"""Where endpoints come from, one source per module."""
