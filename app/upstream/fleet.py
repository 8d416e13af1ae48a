"""The fleet: every endpoint of the plan alive, and a pool for every model they serve."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from app.core.errors import NotFound
from app.routing import strategy
from app.upstream.census import Census
from app.upstream.endpoint import LiveEndpoint
from app.upstream.forecast import unknown
from app.upstream.outliers import SUSPECTED, Outliers
from app.upstream.pool import AFTER
from app.upstream.row import describe, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.ports import Strategy
    from app.upstream.catalogue import ModelCard
    from app.upstream.plan import FleetPlan
    from app.upstream.pool import ModelPool

    Listener = Callable[[LiveEndpoint, str], None]

logger = logging.getLogger(__name__)

ALARMING = frozenset({"open", "down", "draining", "asleep", "stuck", "paused", "refusing"})
UNTOLD = frozenset({"busy", "silent", "suspected", "cleared"})
"""Too frequent for the log."""


class Fleet:
    """Keeps what is known of an endpoint over reloads for as long as its name and url stay.

    Listeners hear, with one word, of each change of an endpoint: added, removed (no new calls; open
    ones finish), ejected, readmitted, and the words of LiveEndpoint.
    """

    def __init__(
        self,
        plan: FleetPlan,
        clock: Clock,
        *listeners: Listener,
        strategies: Callable[[str], Strategy] = strategy,
        takes: Callable[[Call], float] = unknown,
    ) -> None:
        """`strategies` makes a strategy by its name; `takes`: see Forecast. Raises ValueError for a plan that
        cannot be.
        """
        self.plan = plan
        self._clock = clock
        self._listeners = list(listeners)
        self._endpoints: dict[str, LiveEndpoint] = {}
        self._leaving: list[LiveEndpoint] = []
        self._census = Census(clock, strategies, takes)
        self._outliers = Outliers(self._census, clock, self._tell)
        self.subscribe(self._outliers.hear)
        self.apply(plan)

    @property
    def endpoints(self) -> Mapping[str, LiveEndpoint]:
        """By name, in the plan's order; without those that are leaving."""
        return self._endpoints

    @property
    def pools(self) -> Mapping[str, ModelPool]:
        return self._census.pools

    @property
    def inflight(self) -> int:
        return sum(endpoint.inflight for endpoint in (*self._endpoints.values(), *self._leaving))

    @property
    def queued(self) -> int:
        return sum(pool.queued for pool in self.pools.values())

    def pool(self, model: str) -> ModelPool | None:
        """By public name; None for a model nobody serves and nobody configured."""
        return self._census.pools.get(model)

    def models(self) -> Mapping[str, ModelCard]:
        """Public names that an endpoint of the fleet serves, down or not."""
        return self._census.cards

    def serves(self, endpoint: LiveEndpoint, model: str) -> bool:
        """Whether calls for the model may go there, were nothing else against it."""
        return self._census.serves(endpoint.name, model)

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def apply(self, plan: FleetPlan) -> None:
        """Become what the plan says; running calls go on, and so does all that did not change.

        Raises ValueError for a plan that cannot be, and changes nothing then.
        """
        self._census.check(plan)
        self.plan = plan
        former, self._endpoints = self._endpoints, {}
        added: list[LiveEndpoint] = []
        for spec in plan.endpoints:
            known = former.get(spec.name)
            if known is not None and known.spec.url == spec.url:
                del former[spec.name]
                known.adopt(spec, plan.resilience_for(None, spec.name))
                self._endpoints[spec.name] = known
            else:
                added.append(self._added(spec, known))
        for endpoint in former.values():
            self._dismiss(endpoint)
        self._census.take(plan, self._endpoints.values())
        for endpoint in added:
            self._tell(endpoint, "added")

    def drain(self, name: str, seconds: float | None = None, reason: str = "") -> None:
        """No new calls for so long, or until `resume`. Raises NotFound."""
        self._find(name).drain(seconds, reason)

    def resume(self, name: str) -> None:
        """Raises NotFound."""
        self._find(name).resume()

    def eject(self, name: str, seconds: float | None = None, reason: str = "") -> None:
        """Leave it out while others can take its calls, within `max_ejected`. Raises NotFound."""
        self._find(name)
        self._census.eject(name, None if seconds is None else self._clock.monotonic() + seconds, reason)
        if seconds is not None:
            self._clock.call_later(seconds + AFTER, partial(self._census.serve, name))

    def restore(self, name: str) -> None:
        """Raises NotFound."""
        self._outliers.readmit(self._find(name))

    def status(self) -> dict[str, Any]:
        """One JSON for operators: endpoints, pools, and how much is going on."""
        return {
            "inflight": self.inflight,
            "queued": self.queued,
            "endpoints": [self._row(endpoint) for endpoint in self._endpoints.values()],
            "leaving": [self._row(endpoint) for endpoint in self._leaving],
            "models": {model: pool.view() for model, pool in sorted(self.pools.items())},
        }

    def _row(self, endpoint: LiveEndpoint) -> dict[str, Any]:
        ejection = self._census.ejection_of(endpoint.name)
        row = describe(endpoint) | {
            "models": self._census.models_of(endpoint),
            "queued": self._census.queued_for(endpoint.name),
            "ejected": ejection is not None,
            "eject_reason": ejection or "",
            "ejected_for": finite(self._census.ejected_for(endpoint.name)),
        }
        if ejection is not None and row["state"] == "up":
            row["state"] = SUSPECTED if ejection == SUSPECTED else "ejected"
        return row

    def _find(self, name: str) -> LiveEndpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise NotFound("There is no endpoint of this name.")
        return endpoint

    def _added(self, spec: EndpointSpec, former: LiveEndpoint | None) -> LiveEndpoint:
        resilience = self.plan.resilience_for(None, spec.name)
        endpoint = LiveEndpoint(
            spec, resilience, self._clock, self._freed, self._changed, on_conduct=self._outliers.look
        )
        if former is not None:
            endpoint.standing.keep_drain(former.standing)
        self._endpoints[spec.name] = endpoint
        return endpoint

    def _dismiss(self, endpoint: LiveEndpoint) -> None:
        endpoint.leave()
        if endpoint.inflight:
            self._leaving.append(endpoint)
        self._tell(endpoint, "removed")

    def _freed(self, endpoint: LiveEndpoint) -> None:
        if not endpoint.standing.leaving:
            self._census.serve(endpoint.name, at_most=1)
        elif not endpoint.inflight and endpoint in self._leaving:
            self._leaving.remove(endpoint)

    def _changed(self, endpoint: LiveEndpoint, word: str) -> None:
        if endpoint.standing.leaving:
            return
        if word in ("models", "refusing"):
            self._census.take(self.plan, self._endpoints.values())
        self._tell(endpoint, word)
        self._census.serve(endpoint.name)

    def _tell(self, endpoint: LiveEndpoint, word: str) -> None:
        if word not in UNTOLD:
            level = logging.WARNING if word in ALARMING else logging.INFO
            logger.log(level, "endpoint %s: %s", endpoint.name, word)
        for listener in self._listeners:
            listener(endpoint, word)

    def __repr__(self) -> str:
        return f"<Fleet endpoints={len(self._endpoints)} inflight={self.inflight} queued={self.queued}>"
