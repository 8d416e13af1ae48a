"""A bounded waiting room: freed places go to those who wait, in order, and to nobody else."""

from __future__ import annotations

import asyncio
import math
import random
from functools import partial
from typing import TYPE_CHECKING

from app.core.errors import GatewayError
from app.core.outcome import ABANDONED
from app.upstream.forecast import Forecast, unknown
from app.upstream.line import Line
from app.upstream.waiter import Waiter, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.errors import Shed
    from app.resilience.options import QueueOptions
    from app.upstream.waiter import Place


class WaitingRoom:
    """Nobody waits longer than `max_wait` or its own deadline allows; a place handed over is never lost.

    Handing over is synchronous with the freeing, so that no newcomer can slip in between. Whoever cannot be
    served in time by the pace of the moment is told so at once. When the room is full, the last of the
    tenant with most waiting makes way for a tenant with less. `served_at` (monotonic) is when somebody was.
    """

    def __init__(
        self,
        options: QueueOptions,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        takes: Callable[[Call], float] = unknown,
    ) -> None:
        self.forecast = Forecast(options, clock, jitter, takes)
        self._clock = clock
        self._line = Line(clock, lambda: self.options)
        self._came = 0
        self.served_at = -math.inf

    def __len__(self) -> int:
        return len(self._line.waiters)

    @property
    def options(self) -> QueueOptions:
        return self.forecast.options

    @options.setter
    def options(self, options: QueueOptions) -> None:
        self.forecast.options = options

    @property
    def priority(self) -> int | None:
        """Of who is next; None when the room is empty."""
        return self._line.priority

    @property
    def since(self) -> float | None:
        """When the longest waiting call came; None when the room is empty."""
        return self._line.since

    async def wait(self, call: Call, tried: Collection[str], *, entitled: bool = False) -> Place:
        """Raises Overloaded when the room is full or the wait is over, or what `serve` refuses with.

        `entitled`: places are kept for it that those who wait may not have, so that their pace says nothing.
        """
        now = self._clock.monotonic()
        waiter = self._seated(call, tried, now, entitled=entitled)
        timer = self._clock.call_later(waiter.patience, partial(self._give_up, waiter))
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
        self,
        place: Callable[[Call, frozenset[str]], Place | GatewayError | None],
        at_most: int | None = None,
        may_hold: Callable[[str], bool] | None = None,
    ) -> int:
        """Offer what is free to those who wait, in order; returns how many were given a place.

        `place` gives a place, a refusal for those it is hopeless for, or None: wait on. Its answer may
        depend only on what was tried already. `may_hold`: whether a tenant may have one more.
        """
        served = 0
        in_vain: set[frozenset[str]] = set()
        held_back: set[str] = set()
        while served != at_most and (waiter := self._line.first(in_vain, held_back)) is not None:
            if waiter.place.done():
                self._line.discard(waiter)
            elif self.forecast.late(waiter.call):
                self._give_up(waiter)
            elif may_hold is not None and not may_hold(waiter.tenant):
                held_back.add(waiter.tenant)
            elif (found := place(waiter.call, waiter.tried)) is None:
                in_vain.add(waiter.tried)
            elif isinstance(found, GatewayError):
                self._line.discard(waiter)
                waiter.place.set_exception(found)
            else:
                self.served_at = self._clock.monotonic()
                self._line.serve(waiter)
                waiter.place.set_result(found)
                served += 1
        return served

    def expects(self, call: Call) -> tuple[float, Shed | None]:
        """Seconds that a call would wait that came now, 0 while nobody can tell, and what would turn it away.

        Whether somebody made way for it in a full room is seen only when it comes.
        """
        queue = self._line.of(call.key.tenant.priority)
        patience, expected = self.forecast.patience(call), self.forecast.wait(call, queue)
        if patience <= 0 or self.forecast.hopeless(call, queue, patience):
            return expected, "queue_wait"
        return expected, "queue_full" if len(self._line) >= self.options.max_length else None

    def _seated(self, call: Call, tried: Collection[str], now: float, *, entitled: bool) -> Waiter:
        """Raises Overloaded."""
        cost, patience = cost_of(call), self.forecast.patience(call)
        queue = self._line.of(call.key.tenant.priority)
        if patience <= 0 or (not entitled and self.forecast.hopeless(call, queue, patience)):
            raise self._refusal("queue_wait", call, cost)
        self._came += 1
        seat = asyncio.get_running_loop().create_future()
        waiter = Waiter(call, frozenset(tried), now, patience, cost, self._came, seat)
        if len(self._line) >= self.options.max_length:
            self._make_way(waiter)
        self._line.push(waiter)
        return waiter

    def _make_way(self, newcomer: Waiter) -> None:
        leaving = self._line.giving_way(newcomer)
        if leaving is None:
            raise self._refusal("queue_full", newcomer.call, newcomer.cost)
        self._send_away(leaving, "queue_full")

    def _give_up(self, waiter: Waiter) -> None:
        self._send_away(waiter, "queue_wait")

    def _send_away(self, waiter: Waiter, reason: Shed) -> None:
        self._line.discard(waiter)
        if not waiter.place.done():
            waiter.place.set_exception(self._refusal(reason, waiter.call, waiter.cost))

    def _refusal(self, reason: Shed, call: Call, cost: int) -> GatewayError:
        return self.forecast.refusal(reason, call, cost, self._line.of(call.key.tenant.priority))

    def __repr__(self) -> str:
        return f"<WaitingRoom waiting={len(self)}/{self.options.max_length}>"
