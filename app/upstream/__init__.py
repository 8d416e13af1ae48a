"""The fleet: where endpoints come from, how they fare, and how bytes reach them."""
