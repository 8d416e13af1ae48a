"""Seconds to the first event of an endpoint, as a peak that decays; and the gate that watches how calls go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.outcome import Settlement
    from app.resilience.bulkhead import Bulkhead
    from app.resilience.conduct import Conduct

DECAY = 10.0
"""Seconds in which the weight of an old observation falls to 1/e, as in Finagle's peak EWMA."""


class Latency:
    """A gate that admits everyone and watches how long they wait for the first event, and how they end.

    A slower answer counts at once, faster ones little by little; without answers the figure fades, so
    that an endpoint once slow is tried again. `on_answer` hears when the call that answered was admitted,
    `conduct` of streams' waits and of every end that says something about the endpoint. `busy_since` is
    when the first of the calls under way was admitted; they have passed the `bulkhead` before.
    """

    ready = True

    def __init__(
        self, clock: Clock, on_answer: Callable[[float], None], conduct: Conduct, bulkhead: Bulkhead
    ) -> None:
        self.on_answer = on_answer
        self.conduct = conduct
        self._clock = clock
        self._bulkhead = bulkhead
        self.busy_since = 0.0
        self._peak: float | None = None
        self._at = 0.0

    @property
    def seconds(self) -> float | None:
        """None while nothing is known."""
        if self._peak is None:
            return None
        return self._peak * math.exp((self._at - self._clock.monotonic()) / DECAY)

    def admit(self, call: Call) -> Stopwatch:
        now = self._clock.monotonic()
        if self._bulkhead.inflight == 1:
            self.busy_since = now
        return Stopwatch(self, now, call.streams)

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

    def answered(self, admitted: float, streams: bool) -> None:
        """A call admitted then was answered now."""
        now = self._clock.monotonic()
        seconds = now - admitted
        self.observe(seconds, now)
        self.on_answer(admitted)
        if streams:
            self.conduct.waited(seconds, now)

    def unanswered(self, admitted: float, streams: bool) -> None:
        """A call admitted then ended now without an answer."""
        now = self._clock.monotonic()
        seconds = now - admitted
        self.expect_at_least(seconds, now)
        if streams and seconds >= self.conduct.options.slow_floor:
            self.conduct.waited(seconds, now)

    def failed(self) -> None:
        """A call ended by the endpoint's fault."""
        self.conduct.failed(self._clock.monotonic())


class Stopwatch(Struct, eq=False):
    """The permit of one call."""

    _gate: Latency
    _admitted: float
    _streams: bool
    _running: bool = True

    def answered(self) -> None:
        self._running = False
        self._gate.answered(self._admitted, self._streams)

    def __call__(self, settlement: Settlement) -> None:
        if self._running:
            self._running = False
            self._gate.unanswered(self._admitted, self._streams)
        if settlement.outcome is Outcome.SUCCESS:
            self._gate.conduct.succeeded()
        elif settlement.outcome is Outcome.FAILURE:
            self._gate.failed()
