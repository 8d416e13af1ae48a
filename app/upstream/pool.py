"""The endpoints of one model: which of them takes a call, and what the call is told when none can."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any, cast

from app.core.errors import GatewayError
from app.core.guard import Lease
from app.core.outcome import ABANDONED
from app.upstream.choice import Choice
from app.upstream.explain import exclusions
from app.upstream.forecast import unknown
from app.upstream.hopeless import hopeless
from app.upstream.shares import Shares
from app.upstream.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.core.call import Call
    from app.core.clock import Clock, Timer
    from app.core.ports import Endpoint, Strategy
    from app.resilience.ejection import Ejection
    from app.resilience.hedge import Hedge
    from app.resilience.options import QueueOptions
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.waiter import Place

AFTER = 0.001
"""Seconds after the moment itself, so that rounding never wakes anybody before it."""


class ModelPool:
    """Implements core.ports.Pool. Open breakers and endpoints that are down are never used.

    A place that somebody waiting could use is never given to a newcomer.
    """

    def __init__(
        self,
        model: str,
        strategy: Strategy,
        queue: QueueOptions,
        ejection: Ejection,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        takes: Callable[[Call], float] = unknown,
    ) -> None:
        """`takes`: see Forecast."""
        self.model = model
        self.strategy = strategy
        self.ejection = ejection
        self.hedge: Hedge | None = None
        self.room = WaitingRoom(queue, clock, jitter, takes)
        self.choice = Choice()
        self._shares: Shares | None = None
        self.equip(queue)
        self._clock = clock
        self._alarm: Timer | None = None
        self._alarm_at = 0.0
        self._serving = False
        self._calm = False
        self._free: list[LiveEndpoint] = []

    @property
    def endpoints(self) -> tuple[LiveEndpoint, ...]:
        """Those a call may be sent to, in order of preference."""
        return self.choice.endpoints

    @property
    def queued(self) -> int:
        return len(self.room)

    @property
    def panic(self) -> bool:
        """Whether so many endpoints are ejected that none is left out for it."""
        self.ejected()
        return self.ejection.panic

    def ejected(self) -> frozenset[str]:
        """Those to leave out while others are available."""
        return self.ejection.ejected(self.choice.names, self._clock.monotonic())

    def served_name(self, endpoint: Endpoint) -> str:
        served = endpoint.spec.models
        return self.model if served is None else served.get(self.model, self.model)

    async def enter(self, call: Call, tried: Collection[str]) -> tuple[LiveEndpoint, Lease]:
        """As the port says; besides, ModelNotFound or EndpointRefused when every endpoint refused the
        model before this call came.
        """
        if self.room:
            self.serve()
        call.candidates = self.choice.candidates
        found = self._take(call, tried)
        if not self._calm and (out := exclusions(self, tried, found)):
            call.note(self._clock, "excluded", out)
        if found is not None:
            return found
        refusal = hopeless(self.choice, tried)
        if refusal is not None:
            raise refusal
        self._set_alarm()
        held_back = self._held_back(call)
        call.note(self._clock, "waits", "tenant_share" if held_back else "room")
        entitled = self._shares is not None and not held_back
        return await self.room.wait(call, tried, entitled=entitled)

    def enter_now(self, call: Call, tried: Collection[str]) -> Place | None:
        """As the port says."""
        return None if self.room else self._take(call, tried)

    def serve(self, at_most: int | None = None) -> int:
        """Give those who wait what has become free, and refuse those for whom nothing is left."""
        if self._serving:
            return 0
        self._serving = True
        try:
            may_hold = None if self._shares is None else self._shares.may_hold
            served = self.room.serve(self._offer, at_most, may_hold)
        finally:
            self._serving = False
        if self.room:
            self._set_alarm()
        return served

    def equip(self, queue: QueueOptions) -> None:
        """Wait by these rules from now on. Who holds what is counted only while a share is set."""
        self.room.options = queue
        if queue.tenant_share == 100:
            self._shares = None
        elif self._shares is None:
            self._shares = Shares(self._most)

    def _most(self) -> int:
        """Places that one tenant may hold."""
        places = sum(endpoint.bulkhead.limit for endpoint in self.endpoints)
        return max(1, places * self.room.options.tenant_share // 100)

    def take(self, choice: Choice) -> None:
        """Choose from these from now on."""
        self.choice, self._calm = choice, False

    def eject(self, endpoint: str, until: float | None, *, lenient: bool = False) -> None:
        """As Ejection's."""
        self.ejection.eject(endpoint, until, lenient=lenient)
        self._calm = False

    def choose(self, call: Call, tried: Collection[str] = ()) -> LiveEndpoint | None:
        """The endpoint that takes the call now; None when none can. Ejected ones are the last resort.

        In calm, when the last look found all of the first group free, only the one picked is looked at:
        the cost of a call does not grow with the fleet.
        """
        if self._calm and not tried:
            picked = self._pick(call, self.choice.groups[0])
            if picked.has_room and picked.available:
                return picked
        out = self.ejected()
        if not out or not any(e.available for e in self.endpoints if e.name not in {*out, *tried}):
            return self._first(call, tried, calm=not out)
        found = self._first(call, {*tried, *out}, calm=False)
        helpers = self.ejection.lenient(out)
        return (
            self._first(call, {*tried, *(out - helpers)}, calm=False) if found is None and helpers else found
        )

    def _first(self, call: Call, tried: Collection[str], *, calm: bool) -> LiveEndpoint | None:
        """Of the first group that has room."""
        for group in self.choice.groups:
            free = [e for e in group if e.has_room and e.available and e.name not in tried]
            self._calm = calm and group is self.choice.groups[0] and len(free) == len(group)
            if free:
                if free != self._free:
                    self._free = free
                return self._pick(call, self._free)
            if self.choice.spill == "down" and any(_stands(e) for e in group if e.name not in tried):
                return None
        return None

    def _pick(self, call: Call, free: Sequence[LiveEndpoint]) -> LiveEndpoint:
        return free[0] if len(free) == 1 else cast("LiveEndpoint", self.strategy.pick(call, free))

    def rehearse(self, call: Call) -> LiveEndpoint | GatewayError | None:
        """What `enter` would find now: a place, a refusal, or None for a wait; nothing is taken or learnt.

        The strategy picks as a copy of itself; one with a large memory says by `__deepcopy__` how it is copied.
        """
        if self._held_back(call):
            return None
        twin = copy.copy(self)
        twin.strategy = copy.deepcopy(self.strategy)
        return twin.choose(call) or hopeless(self.choice, ())

    def view(self) -> dict[str, Any]:
        """Everything an operator may see."""
        return {"endpoints": list(self.choice.names), "queued": self.queued, "panic": self.panic}

    def _take(self, call: Call, tried: Collection[str]) -> Place | None:
        if self._held_back(call):
            return None
        endpoint = self.choose(call, tried)
        if endpoint is None:
            return None
        lease = Lease()
        try:
            lease.enter(call, endpoint.gates)
            if self._shares is not None:
                lease.enter(call, (self._shares,))
        except BaseException as error:
            lease.settle(ABANDONED)
            if not isinstance(error, GatewayError):
                raise
            return self._take(call, {*tried, endpoint.name})
        return endpoint, lease

    def _held_back(self, call: Call) -> bool:
        """Whether its tenant holds as many places as it may."""
        return self._shares is not None and not self._shares.may_hold(call.key.tenant.id)

    def _offer(self, call: Call, tried: frozenset[str]) -> Place | GatewayError | None:
        return self._take(call, tried) or hopeless(self.choice, tried)

    def _set_alarm(self) -> None:
        """Look again when the first of the endpoints that are out for a time comes back."""
        absent = [e.back_in() for e in self.endpoints if not e.available]
        soonest = min((seconds for seconds in absent if seconds > 0), default=None)
        if soonest is None:
            return
        at = self._clock.monotonic() + soonest
        if self._alarm is not None:
            if self._alarm_at <= at:
                return
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._clock.call_later(soonest + AFTER, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.serve()

    def __repr__(self) -> str:
        return f"<ModelPool {self.model} endpoints={list(self.choice.names)} queued={self.queued}>"


def _stands(endpoint: LiveEndpoint) -> bool:
    """Not down, though it may be full or busy."""
    return endpoint.available or endpoint.reason_unavailable() == "busy"
