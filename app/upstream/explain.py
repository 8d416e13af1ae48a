"""Why a call for a model goes where it goes: every endpoint, and what speaks against it, now or as a call found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.upstream.plan import DEFAULT_ROUTING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from app.core.call import Candidate
    from app.core.guard import Lease
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet
    from app.upstream.pool import ModelPool

NOTED = 32
"""Exclusions that are noted of one look: where more are out, these are telling enough."""


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


def ranked(
    groups: Sequence[Sequence[LiveEndpoint]], left_out: Sequence[tuple[str, str]]
) -> tuple[Candidate, ...]:
    """What a call keeps of the endpoints it could choose from: names and words, nothing alive."""
    chosen = ((endpoint.name, rank, None) for rank, group in enumerate(groups) for endpoint in group)
    return (*chosen, *((name, len(groups), reason) for name, reason in left_out))


def kept_out(endpoint: LiveEndpoint, model: str, preferred: Collection[str], *, strict: bool) -> str | None:
    """Why an endpoint that serves the model is no candidate at all, whatever its state; None when it is."""
    if endpoint.spec.weight == 0:
        return "weight"
    refusal = endpoint.catalogue.marked(model)
    if refusal is not None:
        return refusal.reason
    return "not_preferred" if strict and endpoint.name not in preferred else None


def exclusions(
    pool: ModelPool, tried: Collection[str], found: tuple[LiveEndpoint, Lease] | None
) -> tuple[tuple[str, str], ...]:
    """What spoke against the others when `found` was found, or nothing was."""
    ejected = pool.ejected()
    taken = None if found is None else found[0]
    told: list[tuple[str, str]] = []
    for endpoint in pool.endpoints:
        reason = "tried" if endpoint.name in tried else _state(endpoint, ejected)
        if reason is not None and endpoint is not taken:
            told.append((endpoint.name, reason))
            if len(told) == NOTED:
                break
    return tuple(told)


def _excluded(endpoint: LiveEndpoint, pool: ModelPool | None, fleet: Fleet, *, strict: bool) -> str | None:
    if pool is None or not fleet.serves(endpoint, pool.model):
        return "model"
    preferred = fleet.plan.models.get(pool.model, DEFAULT_ROUTING).preferred_endpoints
    return kept_out(endpoint, pool.model, preferred, strict=strict) or _state(endpoint, pool.ejected())


def _state(endpoint: LiveEndpoint, ejected: Collection[str]) -> str | None:
    reason = None if endpoint.steady else endpoint.reason_unavailable()
    if reason is not None:
        return reason
    if endpoint.name in ejected:
        return "ejected"
    return None if endpoint.has_room else "full"
