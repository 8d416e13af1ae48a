"""Counters that gateways share in Redis: one step there decides over all the calls of a moment.

Redis keeps the time, so that gateways need not agree on it. While it is slow or away, every gateway gives
its share of each limit.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from app.state.grant import Grant
from app.state.redis_batch import Code, Operation
from app.state.redis_courier import AT_START, Courier
from app.state.redis_known import Known
from app.state.redis_rules import Preparations, Prepared, quota
from app.state.redis_share import Share

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Sequence

    from app.core.clock import Clock
    from app.core.tenant import Decision
    from app.state.rule import Rule, RuleName, Window, Windows

PATIENCE = 0.1
RESEED_AFTER = 5.0

logger = logging.getLogger(__name__)


class SharedGrant(Grant, eq=False):
    """`share` gave it when Redis was away, as its own grant `given`; None: Redis did."""

    prepared: Prepared
    share: Share | None = None
    given: Grant | None = None


class RedisCounters:
    """Implements SharedCounters. A refusal takes nothing; what is settled reaches Redis exactly once.

    A take waits for Redis 1.4 times `patience` at most, and not at all once it did not answer. What a gateway holds
    that died comes back within 20 s of its last sign of life.
    """

    def __init__(
        self, url: str, gateway: str, clock: Clock, *, own_time: bool = False, patience: float = PATIENCE
    ) -> None:
        """`gateway` names this process and no other, ever. `own_time`: by `clock` instead of Redis's.

        Raises ValueError for a URL that is none.
        """
        self._clock = clock
        self._preparations = Preparations()
        self._known = Known(clock)
        self._holding: dict[str, int] = {}
        self._share: Share | None = Share(1, self._known, self._holding, clock)
        self._courier = Courier(url, gateway, clock, self, own_time=own_time, patience=patience)
        self._reseed: Callable[[], Awaitable[None]] | None = None
        self._seeding: asyncio.Task[None] | None = None

    async def start(self, reseed: Callable[[], Awaitable[None]], gateways: int = 1) -> None:
        """`reseed` books what the ledger says of the running quotas: now, and whenever Redis may not know.

        `gateways`: those alive, as far as is known without Redis. Raises what `reseed` raises now.
        """
        if not await self._courier.recover(AT_START):
            self._courier.gateways = max(1, gateways)
            self.lost()
            logger.warning("shared limits: Redis does not answer; this gateway gives 1/%d", gateways)
        await reseed()
        self._courier.put(Operation(Code.SEEDED))
        self._reseed = reseed
        self._courier.start()

    @property
    def up(self) -> bool:
        """Whether Redis decides."""
        return self._share is None

    def status(self) -> dict[str, bool | int]:
        """`gateways`: those alive when Redis was last asked."""
        return {"up": self.up, "gateways": self._courier.gateways}

    async def take(self, rules: Sequence[Rule], tokens: int, windows: Windows) -> Grant:
        prepared = self._preparations.of(rules, windows)
        while (share := self._share) is None:
            result = await self._asked(Operation(Code.TAKE, (tokens,), prepared))
            if result is not None:
                allowed = result[0] == 1
                decisions = prepared.decisions(allowed, result[1:], tokens, self._clock.time())
                return SharedGrant(allowed, decisions, tokens if allowed else 0, None, prepared)
        given = await share.take(prepared, tokens)
        return SharedGrant(given.allowed, given.decisions, given.tokens, None, prepared, share, given)

    async def look(self, rules: Sequence[Rule], windows: Windows) -> list[Decision]:
        prepared = self._preparations.of(rules, windows)
        while (share := self._share) is None:
            result = await self._asked(Operation(Code.LOOK, (), prepared))
            if result is not None:
                return prepared.decisions(False, result[1:], 0, self._clock.time())
        return await share.look(prepared)

    def settle(self, grant: Grant, tokens: int) -> None:
        """Queued, never waits. What a share gave that has ended is settled at Redis, which was told of it."""
        shared = cast("SharedGrant", grant)
        if not shared.allowed:
            return
        share, given = shared.share, shared.given
        if share is not None and given is not None and share is self._share:
            share.settle(given, tokens)
            return
        self._hold(shared.prepared, shared.tokens, -1)
        self._courier.put(Operation(Code.SETTLE, (shared.tokens, tokens), shared.prepared))

    def book(self, subject: str, name: RuleName, window: Window, tokens: int) -> None:
        """At least so many tokens of a quota are used; said twice, or by every gateway, it adds nothing."""
        account = quota(subject, name, window)
        self._known.at_least(account, tokens, window.end)
        self._courier.put(Operation(Code.AT_LEAST, (account, tokens, window.end)))

    @property
    def reserved(self) -> int:
        """Tokens and places that calls of this gateway hold, over all rules."""
        return sum(self._holding.values()) + (0 if self._share is None else self._share.reserved)

    async def aclose(self) -> None:
        if self._seeding is not None:
            self._seeding.cancel()
            await asyncio.wait({self._seeding})
        await self._courier.aclose()

    def heard(self, operation: Operation, result: list[float]) -> None:
        prepared, waiter = operation.prepared, operation.waiter
        if prepared is None or waiter is None:
            return
        self._known.saw(prepared, result[1:])
        took = operation.code is Code.TAKE and result[0] == 1
        if not waiter.done():
            if took:
                self._hold(prepared, operation.fields[0], 1)
            waiter.set_result(result)
        elif took:
            self._courier.put(Operation(Code.SETTLE, (operation.fields[0], 0), prepared))

    def forgotten(self) -> list[Operation]:
        held = self._courier.outbox.held(self._holding)
        return [Operation(Code.HOLD, (name, amount)) for name, amount in held.items()]

    def lost(self) -> None:
        self._share = Share(self._courier.gateways, self._known, self._holding, self._clock)

    def found(self) -> list[Operation]:
        """Rates learn what this gateway gave; quotas from the ledger, which has all of it."""
        spent = []
        for slot, used, held in () if self._share is None else self._share.used():
            if held:
                self._holding[slot.name] = self._holding.get(slot.name, 0) + held
            if used:
                self._known.add(slot, used)
            if used and slot.refill:
                spent.append(Operation(Code.SPEND, (slot.name, slot.refill, used)))
        self._share = None
        self.due()
        return self.forgotten() + spent

    def due(self) -> None:
        if self._reseed is not None and (self._seeding is None or self._seeding.done()):
            self._seeding = asyncio.create_task(self._seed(self._reseed), name="quotas from the ledger")

    def __repr__(self) -> str:
        return f"<RedisCounters up={self.up} gateways={self._courier.gateways} reserved={self.reserved}>"

    async def _asked(self, operation: Operation) -> list[float] | None:
        waiter: Future[list[float] | None] = asyncio.get_running_loop().create_future()
        operation.waiter = waiter
        self._courier.put(operation)
        try:
            return await waiter
        except asyncio.CancelledError:
            decided = None if waiter.cancelled() or not waiter.done() else waiter.result()
            if decided is not None and operation.code is Code.TAKE and decided[0] == 1:
                tokens, prepared = operation.fields[0], operation.prepared
                self._hold(cast("Prepared", prepared), tokens, -1)
                self._courier.put(Operation(Code.SETTLE, (tokens, 0), prepared))
            raise

    def _hold(self, prepared: Prepared, tokens: int, sign: int) -> None:
        holding = self._holding
        for slot in prepared.slots:
            if slot.kind:
                name = slot.name
                held = holding.get(name, 0) + sign * slot.cost(tokens)
                if held:
                    holding[name] = held
                else:
                    holding.pop(name, None)

    async def _seed(self, reseed: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await reseed()
            except Exception:
                logger.exception("shared limits: the ledger cannot be read")
                await self._clock.sleep(RESEED_AFTER)
            else:
                self._courier.put(Operation(Code.SEEDED))
                return
