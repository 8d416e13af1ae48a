"""Finds an endpoint that takes the call: the first try bare, then every other one while that is allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.errors import GatewayError, NoHealthyEndpoint, Overloaded
from app.core.failures import (
    ConnectFailed,
    ConnectTimeout,
    EndpointBusy,
    EndpointError,
    EndpointRefused,
    ModelMissing,
    StreamBroken,
)
from app.core.outcome import ABANDONED
from app.gateway.hedging import Race
from app.gateway.verdicts import BUG, failed, gone
from app.resilience.fuse import DEATHS
from app.resilience.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Lease
    from app.core.ports import Pool
    from app.gateway.attempt import Sender
    from app.gateway.catalog import Model
    from app.gateway.ending import Ending
    from app.gateway.exchange import JsonExchange, StreamExchange
    from app.resilience.budget import RetryBudget
    from app.resilience.fuse import Fuse
    from app.resilience.retry import RetryOptions

BUSY_FOR = 1.0
"""Seconds a caller is told to wait when none of the busy endpoints said for how long they are."""

_LEAST_TELLING_FIRST = (EndpointRefused, ModelMissing, ConnectFailed, ConnectTimeout, EndpointBusy)


class _NowhereLeft(Exception):
    """The pool has no endpoint for this call any more; its own word for that is the cause."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__()
        self.error = error


class Dispatch:
    """Within the deadline tries every endpoint for free failures, and `max_attempts` for costly ones."""

    def __init__(
        self,
        sender: Sender,
        retry: Callable[[str], RetryOptions],
        budget: RetryBudget,
        fuse: Fuse,
        clock: Clock,
    ) -> None:
        self._sender = sender
        self._retry = retry
        self._budget = budget
        self._fuse = fuse
        self._clock = clock
        self._stopped: set[asyncio.Task[None]] = set()

    async def __call__(
        self, call: Call, model: Model, pool: Pool, ending: Ending
    ) -> StreamExchange | JsonExchange:
        """An exchange that has committed; the endpoint's lease is part of the ending's from then on."""
        self._budget.deposit()
        tried: list[str] = []
        failures: list[EndpointError] = []
        try:
            return await self._attempt(call, model, pool, ending, tried, failures)
        except _NowhereLeft as nowhere:
            raise nowhere.error from None
        except EndpointError as error:
            if not error.elsewhere:
                raise
            failures.append(error)
        return await self.elsewhere(call, model, pool, ending, tried, failures)

    async def elsewhere(
        self,
        call: Call,
        model: Model,
        pool: Pool,
        ending: Ending,
        tried: list[str],
        failures: list[EndpointError],
    ) -> StreamExchange | JsonExchange:
        """As the call itself, after `failures` at the endpoints `tried`; a stream may have broken off there."""
        options = self._retry(model.name)

        def may_go_on(error: BaseException) -> bool:
            return (
                isinstance(error, EndpointError)
                and error.elsewhere
                and self._affordable(call, failures, options)
            )

        try:
            async for attempt in retrying(options, may_go_on, free=lambda: failures[-1].free):
                with attempt:
                    if attempt.retry_state.attempt_number == 1:
                        raise failures[-1]  # the bare try was the first: what follows it waits like the rest
                    try:
                        return await self._attempt(call, model, pool, ending, tried, failures)
                    except EndpointError as error:
                        failures.append(error)
                        raise
        except _NowhereLeft as nowhere:
            full = isinstance(nowhere.error, Overloaded)
            raise (nowhere.error if full else _verdict(failures)) from None
        raise failures[-1]

    def _affordable(self, call: Call, failures: list[EndpointError], options: RetryOptions) -> bool:
        """Whether one more try may follow the last failure."""
        if failures[-1].free:
            return True
        costly = [failure for failure in failures if not failure.free]
        if len(costly) >= options.max_attempts:
            spent = "attempts"
        elif sum(failure.died for failure in costly) >= DEATHS:
            spent = "deaths"
        elif isinstance(failures[-1], StreamBroken) or self._budget.withdraw():
            return True  # a stream that is carried on does nothing twice
        else:
            spent = "budget"
        call.note(self._clock, "retry_refused", spent)
        return False

    async def _attempt(
        self,
        call: Call,
        model: Model,
        pool: Pool,
        ending: Ending,
        tried: list[str],
        failures: list[EndpointError],
    ) -> StreamExchange | JsonExchange:
        try:
            endpoint, lease = await pool.enter(call, tried)
        except GatewayError as error:
            raise _NowhereLeft(error) from error
        if self._fuse.armed and (tried or call.queue_wait):
            self._check_again(call, lease)
        tried.append(endpoint.spec.name)
        started = self._clock.monotonic()
        if call.dispatched_at is None:
            call.dispatched_at = started
        if pool.hedge is not None and len(tried) == 1 and pool.hedge.covers(call):
            race = Race(self._sender, model, pool, pool.hedge, ending, self._clock, self._stopped)
            return await race.run(endpoint, lease, started, tried, failures)
        try:
            exchange = await self._sender.send(call, model, pool, endpoint, ending.deadline)
        except EndpointError as error:
            endpoint.learn(call, error)
            settlement = failed(call, error)
            lease.settle(settlement)
            ending.attempted(endpoint.spec, started, settlement)
            raise
        except asyncio.CancelledError:
            settlement = gone(call)
            lease.settle(settlement)
            ending.attempted(endpoint.spec, started, settlement)
            raise
        except BaseException:
            lease.settle(BUG)
            raise
        lease.answered()
        ending.absorb(endpoint, lease, started)
        return exchange

    def _check_again(self, call: Call, lease: Lease) -> None:
        """While it waited or was tried, another call with the same body may have seen an endpoint die."""
        try:
            self._fuse.check(call)
        except GatewayError:
            lease.settle(ABANDONED)
            raise


def _verdict(failures: list[EndpointError]) -> GatewayError:
    """What to tell the caller when no endpoint is left: the most telling of what they answered.

    A refusal or a missing model speaks for the fleet only if all endpoints agree.
    """
    costly = [failure for failure in failures if not failure.free]
    if costly:
        return costly[-1]
    ranked = max(failures, key=lambda failure: _LEAST_TELLING_FIRST.index(type(failure)))
    if isinstance(ranked, EndpointRefused | ModelMissing) and any(
        type(f) is not type(ranked) for f in failures
    ):
        return NoHealthyEndpoint()
    if isinstance(ranked, EndpointBusy):
        waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
        return EndpointBusy(retry_after=max(waits, default=BUSY_FOR))
    return ranked
