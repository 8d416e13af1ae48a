"""A fleet, its waiting rooms and callers in virtual time: what overload does, without the noise of a machine."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from app.core.errors import Overloaded
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import SUCCESS, limited, make_call, make_fleet, spec

BEGIN = 1_000.0
TTFT = 0.1
"""Share of a call's seconds in which the first token is made."""


@dataclass
class Fate:
    """One try of a caller, in seconds from the beginning; `served` is None while nothing was said."""

    tenant: str
    arrived: float
    retry: bool = False
    served: bool | None = None
    waited: float = 0.0
    ended: float = 0.0
    retry_after: float = 0.0
    reason: str = ""


@dataclass
class World:
    """Two endpoints of ten places, where a call takes a second or so: twenty calls a second.

    `spread` is how far the seconds of calls lie apart, as a share; `slow` by how much longer an endpoint takes
    for its first token.
    """

    service: float = 1.0
    spread: float = 0.2
    places: int = 10
    queue: dict = field(default_factory=dict)
    seed: int = 1
    names: str = "ab"
    strategy: str = "least_load"
    slow: dict[str, float] = field(default_factory=dict)
    fates: list[Fate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FakeClock(BEGIN)
        self.random = random.Random(self.seed)
        self.fleet = make_fleet(
            *map(spec, self.names), clock=self.clock, strategy=self.strategy,
            endpoint_overrides=limited(**dict.fromkeys(self.names, self.places)),
            resilience={"queue": self.queue},
        )  # fmt: skip
        self.room = self.fleet.pool("m").room
        self.room.forecast._jitter = self.random.random
        self._tasks: set[asyncio.Task] = set()

    @property
    def capacity(self) -> float:
        """Calls a second."""
        return len(self.names) * self.places / self.service

    @property
    def now(self) -> float:
        return self.clock.now - BEGIN

    def offer(self, rate: float, begin: float, end: float, tenant: str = "a", **call) -> None:
        """Calls at random moments, so many a second, whatever becomes of those before."""
        at = begin + self.random.expovariate(rate)
        while at < end:
            self.clock.call_later(at - self.now, lambda: self._start(tenant, call))
            at += self.random.expovariate(rate)

    async def run(self, until: float) -> None:
        """Then everybody who is still waiting or being served ends."""
        await self.clock.run(until - self.now)
        for task in self._tasks:
            task.cancel()
        await settle()
        assert (self.fleet.inflight, self.fleet.queued) == (0, 0)

    def _start(self, tenant: str, call: dict, *, retry: bool = False) -> None:
        task = asyncio.ensure_future(self._call(tenant, retry=retry, **call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(
        self, tenant: str, *, retry: bool, seconds: float = 0.0, obeys: bool = False, **fields
    ) -> None:
        fate = Fate(tenant, self.now, retry)
        self.fates.append(fate)
        fields.setdefault("completion_limit", 100)
        call = make_call(now=self.clock.now, tenant=tenant, **fields)
        try:
            endpoint, lease = await self.fleet.pool("m").enter(call, ())
        except Overloaded as refusal:
            fate.served, fate.ended, fate.reason = False, self.now, refusal.reason
            fate.retry_after = refusal.retry_after
            if obeys:
                again = {"seconds": seconds, "obeys": True, **fields}
                self.clock.call_later(refusal.retry_after, lambda: self._start(tenant, again, retry=True))
            return
        fate.waited = call.queue_wait
        try:
            mean = (seconds or self.service) * self.random.uniform(1 - self.spread, 1 + self.spread)
            first = TTFT * mean * self.slow.get(endpoint.name, 1)
            await self.clock.sleep(first)
            lease.answered()
            await self.clock.sleep((1 - TTFT) * mean)
            fate.served, fate.ended = True, self.now
        finally:
            lease.settle(SUCCESS)

    def of(self, tenant: str = "a", begin: float = 0.0, end: float = float("inf")) -> list[Fate]:
        """The tries of a tenant that began in a span."""
        return [fate for fate in self.fates if fate.tenant == tenant and begin <= fate.arrived < end]


def served(fates: list[Fate]) -> list[Fate]:
    return [fate for fate in fates if fate.served]


def shed(fates: list[Fate]) -> list[Fate]:
    return [fate for fate in fates if fate.served is False]


def percentile(values, share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def latency(fates: list[Fate], share: float = 0.99) -> float:
    return percentile([fate.ended - fate.arrived for fate in fates], share)
