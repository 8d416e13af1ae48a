"""What a call that would have to wait can expect: how long, whether that is worth while, when to come back."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from app.core.errors import Overloaded
from app.upstream.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.errors import Shed
    from app.resilience.options import QueueOptions
    from app.upstream.line import Line

SOONEST, LATEST = 1.0, 60.0
"""Bounds of what callers are told to wait, in seconds."""

SPREAD = 0.1
"""Share by which that is drawn out at random, so that those sent away together do not come back together."""


def unknown(call: Call) -> float:
    return 0.0


class Forecast:
    """`takes` says how many seconds a call will probably take once it has a place; 0 while unknown.

    A room that has not been empty for a while is one that cannot keep up, and waiting in it serves nobody: all
    that is let in must have found a place `max_wait` after the room was last empty, and from then on the wait
    is kept to `overload_wait` (after Nichols and Jacobson, Controlling Queue Delay, ACM Queue 2012). However
    small the room is kept, whoever would be next may wait: no place stays free for it.
    """

    def __init__(
        self,
        options: QueueOptions,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        takes: Callable[[Call], float] = unknown,
    ) -> None:
        self.options = options
        self.flow = Flow(clock)
        self._clock = clock
        self._jitter = jitter
        self._takes = takes

    def patience(self, call: Call) -> float:
        """Seconds that the call may wait and still be answered in time; not positive: it cannot be."""
        left = call.time_left(self._clock.monotonic())
        return min(self.options.max_wait, left - self._takes(call))

    def late(self, call: Call) -> bool:
        """Whether a place is of no use to the call any more."""
        return call.time_left(self._clock.monotonic()) < self._takes(call)

    def wait(self, call: Call, line: Line) -> float:
        """Seconds until a call that comes now finds a place; 0 while nobody can tell."""
        ahead = line.ahead_of(call.key.tenant.id, call.key.tenant.priority)
        if not ahead:
            return 0.0
        rate = self.flow.rate
        if rate is None:
            return 0.0
        return ahead / rate if rate else math.inf

    def allowed(self, patience: float) -> float:
        """Seconds that a call of this patience may have to expect at most."""
        options = self.options
        return min(patience, max(options.overload_wait, options.max_wait - self.flow.standing))

    def refusal(self, reason: Shed, call: Call, cost: int, line: Line, excess: float = 0.0) -> Overloaded:
        """To come back when there will be a seat: in `excess` seconds, and after those of the tenant that were
        sent away before.
        """
        rate = self.flow.rate
        if not rate:
            return Overloaded(reason=reason, retry_after=1 + 2 * self._jitter())
        now = self._clock.monotonic()
        queue = line.of(call.key.tenant.priority)
        turn = now + excess + cost * max(1, queue.waiting) / rate
        if queue:
            backlog = queue.backlog(call.key.tenant.id)
            turn = backlog.turn = min(now + LATEST, max(turn, backlog.turn + cost * queue.waiting / rate))
        wait = (turn - now) * (1 + SPREAD * self._jitter())
        return Overloaded(reason=reason, retry_after=min(LATEST, max(SOONEST, wait)))
