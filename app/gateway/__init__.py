"""The straight line of a call: admitted, dispatched, exchanged, settled."""
