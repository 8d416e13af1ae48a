"""The race: a late attempt gets a rival at another endpoint; the first to commit wins, the other ends at once.

Each leg runs in a task and under a deadline of its own, on a copy of the call: what an attempt writes on its
call stays the leg's until it is the one that counts. The caller's task waits, and books whatever ends.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

from app.core.failures import EndpointError, EndpointRejected
from app.gateway.verdicts import BUG, failed, gone, outrun
from app.resilience.deadline import Deadline

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Lease
    from app.core.outcome import Settlement
    from app.core.ports import Endpoint, Hedge, Pool
    from app.gateway.attempt import Sender
    from app.gateway.catalog import Model
    from app.gateway.ending import Ending
    from app.gateway.exchange import JsonExchange, StreamExchange


class Leg:
    """One of two attempts at the same time. It ends with an exchange, an error, or outrun with neither."""

    __slots__ = ("call", "endpoint", "error", "exchange", "hedge", "lease", "started", "task")

    def __init__(self, call: Call, endpoint: Endpoint, lease: Lease, started: float, *, hedge: bool) -> None:
        self.call = copy.copy(call)
        self.endpoint = endpoint
        self.lease = lease
        self.started = started
        self.hedge = hedge
        self.exchange: StreamExchange | JsonExchange | None = None
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Drop the connection: the engine aborts."""
        if self.exchange is not None:
            self.exchange.close()
        if self.task is not None:
            self.task.cancel()

    def tell(self, call: Call) -> None:
        """It is the attempt that the call was about."""
        own = self.call
        call.endpoint, call.served_model = own.endpoint, own.served_model
        call.upstream_addr, call.metered = own.upstream_addr, own.metered


class Race:
    """Of one call. `tried` and `failures` grow by what the rival tried, and by the first leg that failed.

    A leg that fails leaves the call to the other one, unless the endpoint refused what the caller asked for.
    """

    def __init__(
        self,
        sender: Sender,
        model: Model,
        pool: Pool,
        hedge: Hedge,
        ending: Ending,
        clock: Clock,
        stopped: set[asyncio.Task[None]],
    ) -> None:
        """`stopped` holds the tasks of legs that were stopped until they have seen it."""
        self._sender = sender
        self._model = model
        self._pool = pool
        self._hedge = hedge
        self._ending = ending
        self._clock = clock
        self._stopped = stopped
        self._call = ending.call
        self._running: list[Leg] = []
        self._over: asyncio.Future[Leg] = asyncio.get_running_loop().create_future()

    async def run(
        self,
        endpoint: Endpoint,
        lease: Lease,
        started: float,
        tried: list[str],
        failures: list[EndpointError],
    ) -> StreamExchange | JsonExchange:
        """As one attempt at that endpoint, whose gates are passed. Raises the error that counts."""
        self._tried, self._failures = tried, failures
        self._hedge.deposit()
        delay = self._hedge.delay(self._call)
        timer = None if delay is None else self._clock.call_later(delay, self._late)
        self._call.endpoint = endpoint.spec.name
        self._start(Leg(self._call, endpoint, lease, started, hedge=False))
        try:
            leg = await self._over
        except asyncio.CancelledError:
            over = self._ending.deadline.verdict()
            self._abandon(over)
            if over is None:
                raise
            raise over from None
        finally:
            if timer is not None:
                timer.cancel()
        if leg.exchange is None:
            raise leg.error or RuntimeError("a leg ended without a word")
        self._ending.absorb(leg.endpoint, leg.lease, leg.started, hedge=leg.hedge)
        return leg.exchange

    def _late(self) -> None:
        """Ask another endpoint too, if one has room right now: nobody waits in a queue for a hedge."""
        if self._over.done():
            return
        if not self._hedge.affordable:
            self._call.note(self._clock, "hedge_refused", "budget")
            return
        place = self._pool.enter_now(self._call, self._tried)
        if place is None:
            self._call.note(self._clock, "hedge_refused", "room")
            return
        self._hedge.withdraw()
        endpoint, lease = place
        self._tried.append(endpoint.spec.name)
        self._start(Leg(self._call, endpoint, lease, self._clock.monotonic(), hedge=True))

    def _start(self, leg: Leg) -> None:
        self._running.append(leg)
        leg.task = asyncio.create_task(self._try(leg), name=f"attempt of {self._call.id}")

    async def _try(self, leg: Leg) -> None:
        deadline = Deadline(self._clock)
        deadline.start()
        try:
            leg.exchange = await self._sender.send(leg.call, self._model, self._pool, leg.endpoint, deadline)
        except EndpointError as error:
            self._failed(leg, error)
        except Exception as bug:
            self._end(leg, bug, BUG)
        else:
            self._committed(leg)
        finally:
            deadline.stop()

    def _committed(self, leg: Leg) -> None:
        if leg not in self._running:
            if leg.exchange is not None:
                leg.exchange.close()
            return
        leg.lease.answered()
        self._hedge.observe(self._call, self._clock.monotonic() - leg.started)
        self._outrun(leg)
        self._conclude(leg)

    def _failed(self, leg: Leg, error: EndpointError) -> None:
        if leg not in self._running:
            return
        leg.endpoint.learn(leg.call, error)
        if isinstance(error, EndpointRejected) or len(self._running) == 1:
            self._end(leg, self._final(error), failed(leg.call, error))
            return
        self._book(leg, failed(leg.call, error))
        self._failures.append(error)

    def _final(self, error: EndpointError) -> EndpointError:
        """Of two errors the one after which nothing may be tried any more, else the last one."""
        return next((each for each in (error, *self._failures) if not each.elsewhere), error)

    def _end(self, leg: Leg, error: Exception, settlement: Settlement) -> None:
        if leg not in self._running:
            return
        leg.error = error
        self._outrun(leg)
        self._book(leg, settlement)
        self._conclude(leg)

    def _outrun(self, winner: Leg) -> None:
        """Everybody else ends now. How long the first one has kept us waiting is worth knowing."""
        for leg in [leg for leg in self._running if leg is not winner]:
            if not leg.hedge:
                self._hedge.observe(self._call, self._clock.monotonic() - leg.started)
            self._stop(leg, outrun(leg.call))

    def _abandon(self, error: Exception | None) -> None:
        """The call ends, or its time is over; the last leg booked is the one that its end goes by."""
        for leg in reversed(self._running.copy()):
            leg.tell(self._call)
            if isinstance(error, EndpointError):
                leg.endpoint.learn(leg.call, error)
                self._stop(leg, failed(leg.call, error))
            else:
                self._stop(leg, gone(leg.call))

    def _stop(self, leg: Leg, settlement: Settlement) -> None:
        self._book(leg, settlement)
        leg.stop()
        task = leg.task
        if task is not None and not task.done():
            self._stopped.add(task)
            task.add_done_callback(self._stopped.discard)

    def _book(self, leg: Leg, settlement: Settlement) -> None:
        self._running.remove(leg)
        leg.lease.settle(settlement)
        if settlement is not BUG:
            self._ending.attempted(leg.endpoint.spec, leg.started, settlement, hedge=leg.hedge)

    def _conclude(self, leg: Leg) -> None:
        leg.tell(self._call)
        if not self._over.done():
            self._over.set_result(leg)
