"""sluice serve --workers N: one gateway in several processes."""
