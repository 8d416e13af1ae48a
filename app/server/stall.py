"""A peer that takes no bytes is told from one that takes them slowly."""

from __future__ import annotations

from math import inf


class Stall:
    """Watches a write buffer to which nothing is added."""

    __slots__ = ("_since", "_unwritten")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._since = inf
        self._unwritten = 0

    def lasts(self, now: float, unwritten: int) -> float:
        """Seconds since the buffer last shrank, as far as it was looked at."""
        if self._since == inf or unwritten < self._unwritten:
            self._since = now
        self._unwritten = unwritten
        return now - self._since
