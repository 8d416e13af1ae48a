"""Who serves what: the pools of a fleet, rebuilt from what its endpoints are and have learnt."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from app.resilience.ejection import Ejection
from app.resilience.hedge import Hedge
from app.upstream.catalogue import merged
from app.upstream.choice import Choice
from app.upstream.explain import kept_out
from app.upstream.forecast import unknown
from app.upstream.plan import DEFAULT_ROUTING
from app.upstream.pool import ModelPool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.ports import Strategy
    from app.resilience.ejection import EjectionOptions
    from app.upstream.catalogue import ModelCard
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.plan import FleetPlan


class _Out(NamedTuple):
    """`until` is monotonic; None: until restored."""

    until: float | None
    reason: str
    lenient: bool

    def left(self, now: float) -> float:
        return math.inf if self.until is None else self.until - now


class Census:
    """Pools keep their queues and their strategy's memory for as long as their model is known.

    An endpoint whose models are not known yet is taken to serve every configured model.
    """

    def __init__(
        self, clock: Clock, strategies: Callable[[str], Strategy], takes: Callable[[Call], float] = unknown
    ) -> None:
        """`takes`: see Forecast."""
        self.pools: dict[str, ModelPool] = {}
        self.cards: Mapping[str, ModelCard] = {}
        self._clock = clock
        self._strategies = strategies
        self._takes = takes
        self._strategy = ""
        self._pools_of: dict[str, tuple[ModelPool, ...]] = {}
        self._ejections: dict[str, _Out] = {}
        self._ejection_options: dict[str, EjectionOptions] = {}

    def check(self, plan: FleetPlan) -> None:
        """Raises ValueError for a strategy or an override that cannot be."""
        self._strategies(plan.strategy)
        for endpoint in plan.endpoints:
            plan.resilience_for(None, endpoint.name)
        for model in plan.model_overrides:
            plan.resilience_for(model, None)

    def take(self, plan: FleetPlan, endpoints: Collection[LiveEndpoint]) -> None:
        """Count anew. Calls that wait for a model nobody knows any more are refused."""
        served = {endpoint: self._names(plan, endpoint) for endpoint in endpoints}
        names = sorted(frozenset(plan.models).union(*served.values()))
        former, self.pools = self.pools, {}
        strategy_changed, self._strategy = plan.strategy != self._strategy, plan.strategy
        for name in names:
            pool = former.pop(name, None) or self._pool(name, plan)
            self._equip(pool, plan, renew=strategy_changed)
            pool.take(_choice(name, plan, [e for e in endpoints if name in served[e]]))
            self.pools[name] = pool
        self.cards = {
            name: merged(card for e in endpoints if (card := e.catalogue.card(name)) is not None)
            for name in names
            if any(name in models for models in served.values())
        }
        self._pools_of = {
            endpoint.name: tuple(self.pools[name] for name in sorted(models))
            for endpoint, models in served.items()
        }
        for endpoint in endpoints:
            strategies = [pool.strategy for pool in self._pools_of[endpoint.name]]
            endpoint.followers = [each.eased for each in strategies if hasattr(each, "eased")]
        for pool in former.values():
            pool.take(Choice())
        for pool in (*former.values(), *self.pools.values()):
            if pool.queued:
                pool.serve()

    def serves(self, endpoint: str, model: str) -> bool:
        return any(pool.model == model for pool in self._pools_of.get(endpoint, ()))

    def models_of(self, endpoint: LiveEndpoint) -> list[str]:
        """Public names, those it refused left out."""
        pools = self._pools_of.get(endpoint.name, ())
        return [pool.model for pool in pools if endpoint.catalogue.marked(pool.model) is None]

    def queued_for(self, endpoint: str) -> int:
        """Calls that wait for a place there or at another endpoint of their model."""
        return sum(pool.queued for pool in self._pools_of.get(endpoint, ()))

    def serve(self, endpoint: str, at_most: int | None = None) -> None:
        """Offer an endpoint's room to those who wait for it: its models in turn, higher priorities first."""
        crowded = [pool for pool in self._pools_of.get(endpoint, ()) if pool.room]
        if len(crowded) > 1:
            crowded.sort(key=_turn)
        for pool in crowded:
            if pool.serve(at_most) == at_most:
                return

    def peers(self, endpoint: LiveEndpoint) -> list[list[LiveEndpoint]]:
        """For each of its models those others of its tier that take calls now."""
        pools = self._pools_of.get(endpoint.name, ())
        groups = ((pool.choice.endpoints, pool.ejected()) for pool in pools)
        tier = endpoint.spec.tier
        found = [
            [
                e
                for e in group
                if e.spec.tier == tier and e is not endpoint and e.available and e.name not in out
            ]
            for group, out in groups
        ]
        return [group for group in found if group]

    def eject(self, endpoint: str, until: float | None, reason: str, *, lenient: bool = False) -> None:
        """`until` is monotonic; None: until restored. `lenient`: it may help out when the others are full."""
        self._ejections[endpoint] = _Out(until, reason, lenient)
        for pool in self.pools.values():
            pool.eject(endpoint, until, lenient=lenient)
        self.serve(endpoint)

    def restore(self, endpoint: str) -> None:
        self._ejections.pop(endpoint, None)
        for pool in self.pools.values():
            pool.ejection.restore(endpoint)
        self.serve(endpoint)

    def acquit(self, endpoint: str) -> None:
        """As `restore`, but an operator's word stands."""
        out = self._ejections.get(endpoint)
        if out is not None and out.lenient:
            self.restore(endpoint)

    def ejection_of(self, endpoint: str) -> str | None:
        """The reason given for it; None when it is not ejected."""
        out = self._ejections.get(endpoint)
        return None if out is None or out.left(self._clock.monotonic()) <= 0 else out.reason

    def ejected_for(self, endpoint: str) -> float:
        """Seconds until it is back, infinite without an end, 0 when it is not ejected."""
        out = self._ejections.get(endpoint)
        return 0.0 if out is None else max(0.0, out.left(self._clock.monotonic()))

    def _pool(self, model: str, plan: FleetPlan) -> ModelPool:
        resilience = plan.resilience_for(model, None)
        strategy = self._strategies(plan.strategy)
        ejection = self._ejection(resilience.ejection)
        return ModelPool(model, strategy, resilience.queue, ejection, self._clock, takes=self._takes)

    def _equip(self, pool: ModelPool, plan: FleetPlan, *, renew: bool) -> None:
        resilience = plan.resilience_for(pool.model, None)
        pool.equip(resilience.queue)
        if self._ejection_options.get(pool.model) != resilience.ejection:
            self._ejection_options[pool.model] = resilience.ejection
            pool.ejection = self._ejection(resilience.ejection)
        hedge = resilience.hedge
        if pool.hedge is None or pool.hedge.options != hedge:
            pool.hedge = Hedge(hedge) if hedge.enabled else None
        if renew:
            pool.strategy = self._strategies(plan.strategy)

    def _ejection(self, options: EjectionOptions) -> Ejection:
        ejection = Ejection(options)
        for name, out in self._ejections.items():
            ejection.eject(name, out.until, lenient=out.lenient)
        return ejection

    @staticmethod
    def _names(plan: FleetPlan, endpoint: LiveEndpoint) -> frozenset[str]:
        return endpoint.catalogue.names() if endpoint.catalogue.known else frozenset(plan.models)


def _turn(pool: ModelPool) -> tuple[int, float, float]:
    room = pool.room
    return room.priority or 0, room.served_at, room.since or 0.0


def _choice(model: str, plan: FleetPlan, serving: list[LiveEndpoint]) -> Choice:
    routing = plan.models.get(model, DEFAULT_ROUTING)
    preferred = routing.preferred_endpoints

    def rank(endpoint: LiveEndpoint) -> tuple[bool, int]:
        return endpoint.name not in preferred, endpoint.spec.tier

    candidates = [endpoint for endpoint in serving if endpoint.spec.weight > 0]
    if routing.strict_preferred:
        candidates = [endpoint for endpoint in candidates if endpoint.name in preferred]
    refusals = {endpoint: endpoint.catalogue.marked(model) for endpoint in candidates}
    willing = sorted((e for e in candidates if refusals[e] is None), key=rank)
    strict = routing.strict_preferred
    return Choice(
        groups=tuple(tuple(group) for _, group in groupby(willing, key=rank)),
        spill=plan.spill,
        refusals=frozenset(refusal for refusal in refusals.values() if refusal is not None),
        left_out=tuple(
            (e.name, reason)
            for e in serving
            if (reason := kept_out(e, model, preferred, strict=strict)) is not None
        ),
    )
