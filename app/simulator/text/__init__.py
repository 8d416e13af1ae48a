"""What the simulated model reads and says: tokens, chat template, replies."""
