"""How long an endpoint that called itself busy is left alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock

FIRST = 1.0
LONGEST = 30.0


class Busy:
    """Its Retry-After, else 1 s doubling to 30 s until it answers a call again.

    Calls that were under way when it first said so count as one refusal. Pauses are stretched by up to
    a tenth, so that several gateways do not come back at one moment.
    """

    def __init__(self, clock: Clock, jitter: Callable[[], float] = random.random) -> None:
        self.until = 0.0
        self._clock = clock
        self._jitter = jitter
        self._pause = FIRST
        self._marked_at = 0.0

    @property
    def left(self) -> float:
        """Seconds, 0 when it may be asked."""
        return max(0.0, self.until - self._clock.monotonic())

    def mark(self, retry_after: float | None) -> None:
        """It refused a call as busy; `retry_after` is its own word, in seconds."""
        now = self._clock.monotonic()
        fresh = now >= self.until
        if retry_after is None:
            if not fresh:
                return
            retry_after = self._pause
            self._pause = min(self._pause * 2, LONGEST)
        if fresh:
            self._marked_at = now
        self.until = max(self.until, now + retry_after * (1 + 0.1 * self._jitter()))

    def answered(self, admitted: float) -> None:
        """It began to answer a call admitted then: a later refusal is a first one again."""
        if admitted >= self._marked_at:
            self._pause = FIRST
