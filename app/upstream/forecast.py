"""What a call that would have to wait can expect: how long, whether that is worth while, when to come back."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from app.core.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.errors import Shed
    from app.resilience.options import QueueOptions
    from app.upstream.fair import FairQueue

SOONEST, LATEST = 1.0, 60.0
"""Bounds of what callers are told to wait, in seconds."""

SPREAD = 1.0
"""Seconds by which that is drawn out at random, so that those sent away together do not come back together."""


RESERVE = 2.0
"""Places are promised at the pace of the moment divided by this."""


def unknown(call: Call) -> float:
    return 0.0


class Forecast:
    """`takes` says how many seconds a call will probably take once it has a place; 0 while unknown.

    A queue in which whoever is served has long been waiting cannot keep up, and waiting in it serves nobody: all
    that is let in must have found a place `max_wait` after it began to stand, and from then on the wait is kept
    to `overload_wait` (after Nichols and Jacobson, Controlling Queue Delay, ACM Queue 2012). However short it is
    kept, whoever would be next may wait: no place stays free for it.
    """

    def __init__(
        self,
        options: QueueOptions,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        takes: Callable[[Call], float] = unknown,
    ) -> None:
        self.options = options
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

    def hopeless(self, call: Call, queue: FairQueue, patience: float) -> bool:
        """Whether a call of this patience should be told at once that it will not be served."""
        tenant = call.key.tenant.id
        return self._until_served(queue, queue.ahead_of(tenant)) > patience or self._until_served(
            queue, queue.flooded_before(tenant)
        ) > self.allowed(patience, queue)

    def wait(self, call: Call, queue: FairQueue) -> float:
        """Seconds until a call that comes now finds a place; 0 while nobody can tell."""
        return self._until_served(queue, queue.ahead_of(call.key.tenant.id))

    @staticmethod
    def _until_served(queue: FairQueue, ahead: float) -> float:
        if not ahead:
            return 0.0
        rate = queue.flow.rate
        if rate is None:
            return 0.0
        return ahead / rate if rate else math.inf

    def allowed(self, patience: float, queue: FairQueue) -> float:
        """Seconds that a call of this patience may have to expect at most."""
        options = self.options
        return min(patience, max(options.overload_wait, options.max_wait - queue.flow.standing))

    def refusal(self, reason: Shed, call: Call, cost: int, queue: FairQueue) -> Overloaded:
        """To come back when what waits now is gone, and after those of the tenant that were sent away before:
        one after the other, at half the pace of the moment, since others come too.
        """
        rate = queue.flow.rate
        if not rate:
            return Overloaded(reason=reason, retry_after=1 + 2 * self._jitter())
        now = self._clock.monotonic()
        step = RESERVE * cost * max(1, queue.waiting) / rate
        turn = now + self.wait(call, queue) + step
        if queue:
            backlog = queue.backlog(call.key.tenant.id)
            turn = backlog.turn = min(now + LATEST, max(turn, backlog.turn + step))
        wait = max(SOONEST, turn - now) + SPREAD * self._jitter()
        if wait > LATEST:
            wait = LATEST * (1 + self._jitter()) / 2
        return Overloaded(reason=reason, retry_after=wait)
