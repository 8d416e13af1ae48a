"""Virtual time for an engine: nothing happens until a test lets time pass."""

from __future__ import annotations

import heapq
from itertools import count


class Handle:
    def __init__(self, callback) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualTimers:
    """The time and the timers of an event loop, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when, callback):
        handle = Handle(callback)
        heapq.heappush(self._due, (when, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        """Let time pass, timers firing at their moment."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until + 1e-9:
            when, _, handle = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if handle.callback is not None:
                handle.callback()
        self.now = until

    def settle(self) -> None:
        """Let time pass until nothing is left to do."""
        while self._due:
            self.advance(max(0.0, self._due[0][0] - self.now))
