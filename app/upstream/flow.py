"""How fast waiting calls find places, and for how long they have been too slow, learnt from those that did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.resilience.options import QueueOptions

MEMORY = 10.0
"""Seconds of waiting in which the weight of an old observation falls to 1/e."""

ENOUGH = 8
"""Calls that must have found a place before anything is said."""


LATE, PROMPT, CALM = 1.0, -0.25, -1.0
"""What a second adds to the time for which a queue stands: served late, served in time, nobody waits.

So four in five of those who wait are served in time.
"""


class Flow:
    """Counts only the time in which somebody waits, from one who found a place to the next.

    An idle room says nothing of what endpoints can do, nor does the time until the first place becomes free.
    """

    def __init__(self, clock: Clock, options: Callable[[], QueueOptions]) -> None:
        self._clock = clock
        self._options = options
        self._slope = CALM
        self._stood = 0.0
        self._turned = 0.0
        self._at: float | None = None
        self._seconds = 0.0
        self._tokens = 0.0
        self._calls = 0

    def end(self) -> None:
        """Nobody waits any more."""
        now = self._clock.monotonic()
        self._reach(now)
        self._turn(now, CALM)
        self._at = None

    def passed(self, tokens: int, waited: float) -> None:
        """A call of so many tokens was given a place after so many seconds."""
        now = self._clock.monotonic()
        self._turn(now, LATE if waited > self._options().overload_wait else PROMPT)
        if self._at is None:
            self._at = now
            return
        self._reach(now)
        self._tokens += tokens
        self._calls += 1

    @property
    def standing(self) -> float:
        """Seconds for which whoever found a place had waited longer than `overload_wait`, up to `max_wait`.

        Better times make up for it: a moment without a queue is not the end of it.
        """
        passed = self._clock.monotonic() - self._turned
        return max(0.0, min(self._options().max_wait, self._stood + self._slope * passed))

    @property
    def rate(self) -> float | None:
        """Tokens of calls that find a place in a second; None while too little is known."""
        self._reach(self._clock.monotonic())
        if self._calls < ENOUGH or not self._seconds:
            return None
        return self._tokens / self._seconds

    def _turn(self, now: float, slope: float) -> None:
        if slope != self._slope:
            self._stood, self._turned, self._slope = self.standing, now, slope

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
