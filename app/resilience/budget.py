"""A retry budget: retries stay a small part of the traffic, so that they cannot become the outage.

A limit per call does not do that: when everything fails, two attempts each double the load.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.clock import Clock

WINDOW = 10
"""Seconds, as in Finagle and tower: long enough to save the calls of one endpoint that dies."""


class RetryBudget:
    """Over the last ten seconds at most `ratio` retries a call, and `min_per_second` besides."""

    def __init__(self, ratio: float, min_per_second: float, clock: Clock) -> None:
        self._ratio = ratio
        self._floor = min_per_second * WINDOW
        self._clock = clock
        self._seconds: deque[tuple[int, list[int]]] = deque()
        self._second = -1
        self._calls = 0
        self._retries = 0

    def deposit(self) -> None:
        """A call has come."""
        self._current()[0] += 1
        self._calls += 1

    def withdraw(self) -> bool:
        """Whether one more retry is affordable; it is paid for then."""
        current = self._current()
        if self._retries + 1 > self._floor + self._ratio * self._calls:
            return False
        current[1] += 1
        self._retries += 1
        return True

    def _current(self) -> list[int]:
        """Calls and retries of this second, after forgetting those that left the window."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second = second
            while self._seconds and self._seconds[0][0] <= second - WINDOW:
                _, (calls, retries) = self._seconds.popleft()
                self._calls -= calls
                self._retries -= retries
            self._seconds.append((second, [0, 0]))
        return self._seconds[-1][1]

    def __repr__(self) -> str:
        return f"<RetryBudget retries={self._retries} calls={self._calls}>"
