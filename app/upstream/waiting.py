"""A bounded waiting room: freed places go to those who wait, in order, and to nobody else."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.core.errors import GatewayError, Overloaded
from app.core.outcome import ABANDONED
from app.upstream.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Lease
    from app.resilience.options import QueueOptions
    from app.upstream.endpoint import LiveEndpoint

    Place = tuple[LiveEndpoint, Lease]


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A call that waits since then (monotonic); `place` is cancelled the moment its caller is gone."""

    call: Call
    tried: frozenset[str]
    since: float
    place: asyncio.Future[Place]


class WaitingRoom:
    """Nobody waits longer than `max_wait` or its own deadline; a place handed over is never lost.

    Handing over is synchronous with the freeing, so that no newcomer can slip in between.
    """

    def __init__(
        self, options: QueueOptions, clock: Clock, jitter: Callable[[], float] = random.random
    ) -> None:
        self.options = options
        self._clock = clock
        self._jitter = jitter
        self._line = Line()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def since(self) -> float | None:
        """When the longest waiting call came; None when the room is empty."""
        return self._line.since

    async def wait(self, call: Call, tried: Collection[str]) -> Place:
        """Raises Overloaded when the room is full or the wait is over, or what `serve` refuses with."""
        now = self._clock.monotonic()
        patience = min(self.options.max_wait, call.time_left(now))
        if patience <= 0 or not self._has_seat():
            raise self._refusal()
        waiter = Waiter(call, frozenset(tried), now, asyncio.get_running_loop().create_future())
        self._line.push(waiter)
        timer = self._clock.call_later(patience, partial(self._give_up, waiter))
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                waiter.place.result()[1].settle(ABANDONED)
            raise
        finally:
            timer.cancel()
            self._line.discard(waiter)
            call.queue_wait += self._clock.monotonic() - now

    def serve(
        self, place: Callable[[Call, frozenset[str]], Place | GatewayError | None], at_most: int | None = None
    ) -> int:
        """Offer what is free to those who wait, in order; returns how many were given a place.

        `place` gives a place, a refusal for those it is hopeless for, or None: wait on. Its answer may
        depend only on what was tried already.
        """
        served = 0
        waits_on: set[frozenset[str]] = set()
        for waiter in self._line:
            if served == at_most or len(waits_on) >= self._line.kinds:
                break
            if waiter.tried in waits_on or waiter.place.done():
                continue
            found = place(waiter.call, waiter.tried)
            if found is None:
                waits_on.add(waiter.tried)
                continue
            self._line.discard(waiter)
            if isinstance(found, GatewayError):
                waiter.place.set_exception(found)
            else:
                waiter.place.set_result(found)
                served += 1
        return served

    def _has_seat(self) -> bool:
        if len(self._line) >= self.options.max_length:
            for waiter in self._line:
                if waiter.place.cancelled():
                    self._line.discard(waiter)
        return len(self._line) < self.options.max_length

    def _give_up(self, waiter: Waiter) -> None:
        self._line.discard(waiter)
        if not waiter.place.done():
            waiter.place.set_exception(self._refusal())

    def _refusal(self) -> Overloaded:
        return Overloaded(retry_after=1 + 2 * self._jitter())

    def __repr__(self) -> str:
        return f"<WaitingRoom waiting={len(self)}/{self.options.max_length}>"
