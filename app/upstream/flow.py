"""How fast waiting calls find places, learnt from those that did; and how long anybody has been waiting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.clock import Clock

MEMORY = 10.0
"""Seconds of waiting in which the weight of an old observation falls to 1/e."""

ENOUGH = 8
"""Calls that must have found a place before anything is said."""


class Flow:
    """Counts only the time in which somebody waits, from one who found a place to the next.

    An idle room says nothing of what endpoints can do, nor does the time until the first place becomes free.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: float | None = None
        self._at: float | None = None
        self._seconds = 0.0
        self._tokens = 0.0
        self._calls = 0

    def begin(self) -> None:
        """Somebody waits."""
        if self._began is None:
            self._began = self._clock.monotonic()

    def end(self) -> None:
        """Nobody waits any more."""
        self._reach(self._clock.monotonic())
        self._began = self._at = None

    def passed(self, tokens: int) -> None:
        """A call of so many tokens was given a place."""
        now = self._clock.monotonic()
        if self._at is None:
            self._at = now
            return
        self._reach(now)
        self._tokens += tokens
        self._calls += 1

    @property
    def standing(self) -> float:
        """Seconds since when somebody has been waiting without a break."""
        return 0.0 if self._began is None else self._clock.monotonic() - self._began

    @property
    def rate(self) -> float | None:
        """Tokens of calls that find a place in a second; None while too little is known."""
        self._reach(self._clock.monotonic())
        if self._calls < ENOUGH or not self._seconds:
            return None
        return self._tokens / self._seconds

    def _reach(self, now: float) -> None:
        if self._at is None or now == self._at:
            return
        kept = math.exp((self._at - now) / MEMORY)
        self._tokens *= kept
        self._seconds = self._seconds * kept + MEMORY * (1 - kept)
        self._at = now

    def __repr__(self) -> str:
        rate = self.rate
        return f"<Flow rate={'unknown' if rate is None else f'{rate:.0f}'} standing={self.standing:.1f}>"
