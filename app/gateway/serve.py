"""Serves a call: admit, open, dispatch, and hand over a reply whose end settles it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.errors import CallerGone, GatewayError, NoHealthyEndpoint, Overloaded, StorageUnavailable
from app.core.failures import ConnectFailed, ConnectTimeout, EndpointBusy, TotalTimeout
from app.core.guard import Lease
from app.core.outcome import ABANDONED, Outcome, Settlement
from app.core.reply import Served
from app.gateway.ending import Ending
from app.gateway.exchange import StreamExchange
from app.gateway.resuming import Resuming
from app.resilience.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Guard
    from app.core.ports import Ledger, Observer, Pool
    from app.gateway.catalog import Catalog, Model
    from app.gateway.dispatch import Dispatch
    from app.gateway.exchange import JsonExchange
    from app.gateway.pace import Pace
    from app.resilience.deadline import TimeoutOptions
    from app.resilience.fuse import Fuse

UNSERVED = (NoHealthyEndpoint, Overloaded, ConnectFailed, ConnectTimeout, EndpointBusy)
"""Nobody of the model could take the call: its fallbacks may."""


class Gateway:
    """The line. Whatever happens, an admitted call is settled exactly once."""

    def __init__(
        self,
        catalog: Catalog,
        guards: Sequence[Guard],
        ledger: Ledger,
        dispatch: Dispatch,
        observer: Observer,
        timeouts: Callable[[str], TimeoutOptions],
        pace: Pace,
        fuse: Fuse,
        clock: Clock,
    ) -> None:
        self.catalog = catalog
        self._guards = tuple(guards)
        self._ledger = ledger
        self._dispatch = dispatch
        self._observer = observer
        self._timeouts = timeouts
        self._pace = pace
        self._fuse = fuse
        self._clock = clock

    async def serve(self, call: Call, model: Model) -> Served:
        """An answer that has committed. Raises GatewayError, with the call settled."""
        lease = Lease()
        try:
            if self._ledger.overdue:
                raise StorageUnavailable
            if self._fuse.armed:
                self._fuse.check(call)
            await lease.take(call, self._guards)
        except BaseException as error:
            lease.settle(ABANDONED)
            self._observer.rejected(call, _refusal(call, error))
            raise
        self._ledger.open(call)
        deadline = Deadline(self._clock, self._limit(call, model), TotalTimeout)
        ending = Ending(
            call, lease, deadline, self._ledger, self._observer, self._pace, self._fuse, self._clock
        )
        exchange: StreamExchange | JsonExchange | Resuming
        try:
            deadline.start()
            try:
                pool = self.catalog.pool(model)
                exchange = await self._dispatch(call, model, pool, ending)
            except UNSERVED as error:
                exchange = await self._fall_back(call, model, ending, error)
            else:
                if model.resume:
                    exchange = self._resuming(exchange, call, model, pool)
        except GatewayError as error:
            ending.fail(error, *call.counted)
            raise
        except asyncio.CancelledError:
            over = deadline.verdict()
            if over is None:
                ending.abandon(*call.counted)
                raise
            ending.fail(over, *call.counted)
            raise over from None
        except BaseException:
            ending.settle(Settlement(Outcome.IGNORED, status=500, elapsed=ending.elapsed, billed=False))
            raise
        if isinstance(exchange, StreamExchange):
            self._fuse.seal(call)
        call.first_byte = ending.elapsed
        exchange.begin(ending)
        return Served(exchange.headers, exchange)

    def _limit(self, call: Call, model: Model) -> float:
        timeouts = self._timeouts(model.name)
        limit = timeouts.stream_total if call.streams else timeouts.total
        call.deadline = min(call.deadline, call.arrived + limit)
        return call.deadline

    async def _fall_back(
        self, call: Call, model: Model, ending: Ending, error: GatewayError
    ) -> StreamExchange | JsonExchange | Resuming:
        """By another model, where there is one; else raises the error of the last that was tried."""
        for fallback in self.catalog.fallbacks(model, call.key):
            call.note(self._clock, "fallback", (("from", call.model), ("to", fallback.name)))
            call.target = call.model = fallback.name
            try:
                pool = self.catalog.pool(fallback)
                exchange = await self._dispatch(call, fallback, pool, ending)
            except UNSERVED as unserved:
                error = unserved
            else:
                return self._resuming(exchange, call, fallback, pool) if fallback.resume else exchange
        raise error

    def _resuming(
        self, exchange: StreamExchange | JsonExchange, call: Call, model: Model, pool: Pool
    ) -> JsonExchange | Resuming:
        if isinstance(exchange, StreamExchange):
            return Resuming(exchange, call, model, pool, self._dispatch, self._observer)
        return exchange


def _refusal(call: Call, error: BaseException) -> GatewayError:
    """What the caller is told, or would be if it were still there."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return call.stopped or CallerGone()
    return GatewayError()
