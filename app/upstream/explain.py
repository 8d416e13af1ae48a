"""Why a call for a model would go where it goes: every endpoint, and what speaks against it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.upstream.plan import DEFAULT_ROUTING

if TYPE_CHECKING:
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet
    from app.upstream.pool import ModelPool


def candidates(fleet: Fleet, model: str) -> list[dict[str, Any]]:
    """A row for each endpoint of the fleet; `excluded` is one word, None for those that may be picked.

    model (does not serve it) · refused, model_missing (said so) · not_preferred · the words of
    LiveEndpoint.reason_unavailable · ejected · full.
    """
    routing = fleet.plan.models.get(model, DEFAULT_ROUTING)
    pool = fleet.pool(model)
    return [
        {
            "endpoint": endpoint.name,
            "preferred": endpoint.name in routing.preferred_endpoints,
            "tier": endpoint.spec.tier,
            "weight": endpoint.spec.weight,
            "inflight": endpoint.inflight,
            "limit": endpoint.bulkhead.limit,
            "back_in": endpoint.back_in(),
            "excluded": _excluded(endpoint, pool, fleet, strict=routing.strict_preferred),
        }
        for endpoint in fleet.endpoints.values()
    ]


def _excluded(endpoint: LiveEndpoint, pool: ModelPool | None, fleet: Fleet, *, strict: bool) -> str | None:
    if pool is None or not fleet.serves(endpoint, pool.model):
        return "model"
    refusal = endpoint.catalogue.marked(pool.model)
    if refusal is not None:
        return refusal.reason
    if strict and endpoint.name not in fleet.plan.models[pool.model].preferred_endpoints:
        return "not_preferred"
    reason = endpoint.reason_unavailable()
    if reason is not None:
        return reason
    if endpoint.name in pool.ejected():
        return "ejected"
    return None if endpoint.has_room else "full"
