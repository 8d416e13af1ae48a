"""Seconds to the first event of an endpoint, as a peak that decays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.outcome import Settlement

DECAY = 10.0
"""Seconds in which the weight of an old observation falls to 1/e, as in Finagle's peak EWMA."""


class Latency:
    """A gate that admits everyone and watches how long they wait for the first event.

    A slower answer counts at once, faster ones little by little; without answers the figure fades, so
    that an endpoint once slow is tried again. `on_answer` hears when the call that answered was admitted.
    """

    ready = True

    def __init__(self, clock: Clock, on_answer: Callable[[float], None]) -> None:
        self.on_answer = on_answer
        self._clock = clock
        self._peak: float | None = None
        self._at = 0.0

    @property
    def seconds(self) -> float | None:
        """None while nothing is known."""
        if self._peak is None:
            return None
        return self._peak * math.exp((self._at - self._clock.monotonic()) / DECAY)

    def admit(self, call: Call) -> Stopwatch:
        return Stopwatch(self, self._clock.monotonic())

    def observe(self, seconds: float, now: float) -> None:
        """An answer took this long."""
        if self._peak is not None and seconds < self._peak:
            weight = math.exp((self._at - now) / DECAY)
            seconds = max(seconds, self._peak * weight + seconds * (1 - weight))
        self._peak, self._at = seconds, now

    def expect_at_least(self, seconds: float, now: float) -> None:
        """A call gave up unanswered after this long: the figure can only rise by it."""
        if seconds > (self.seconds or 0.0):
            self._peak, self._at = seconds, now

    def stop(self, admitted: float, answered: bool) -> None:
        """A call admitted then was answered now, or ended without an answer."""
        now = self._clock.monotonic()
        if answered:
            self.observe(now - admitted, now)
            self.on_answer(admitted)
        else:
            self.expect_at_least(now - admitted, now)


class Stopwatch:
    """The permit of one call."""

    __slots__ = ("_admitted", "_gate", "_running")

    def __init__(self, gate: Latency, admitted: float) -> None:
        self._gate = gate
        self._admitted = admitted
        self._running = True

    def answered(self) -> None:
        self._running = False
        self._gate.stop(self._admitted, answered=True)

    def __call__(self, settlement: Settlement) -> None:
        if self._running:
            self._running = False
            self._gate.stop(self._admitted, answered=False)
