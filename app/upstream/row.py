"""One endpoint as operators see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.upstream.endpoint import LiveEndpoint


def finite(number: float) -> float | None:
    """None for what has no end, which JSON cannot say."""
    return None if math.isinf(number) else number


def describe(endpoint: LiveEndpoint) -> dict[str, Any]:
    """Everything that is known of it; times in seconds, `share` of its weight."""
    scraped, standing = endpoint.scraped, endpoint.standing
    return {
        "name": endpoint.name,
        "state": endpoint.reason_unavailable() or ("half_open" if not endpoint.steady else "up"),
        "health": standing.health,
        "breaker": endpoint.breaker.state,
        "reopens_in": endpoint.breaker.reopens_in,
        "suspected": endpoint.belief.suspicion.since is not None,
        "inflight": endpoint.inflight,
        "limit": endpoint.bulkhead.limit,
        "load": finite(endpoint.load),
        "latency": endpoint.latency,
        "weight": endpoint.spec.weight,
        "share": endpoint.ramp.share,
        "tier": endpoint.spec.tier,
        "models": sorted(endpoint.catalogue.names()),
        "draining": standing.draining or standing.drained,
        "drain_reason": standing.drain_reason,
        "busy_for": standing.busy.left,
        "last_error": endpoint.last_error,
        "running": scraped.running,
        "waiting": scraped.waiting,
        "kv_usage": scraped.kv_usage,
    }
