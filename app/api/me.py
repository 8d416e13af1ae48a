"""What a key may see of itself: its limits, what is used of them, its usage by day."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from app.api.identity import identify
from app.api.intake import headers_of
from app.core.clock import SystemClock
from app.store.reports import UsageFilter

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.core.ports import KeyDirectory
    from app.core.tenant import Key
    from app.store.reports import Reports
    from app.tenancy.limiter import Limiter

PERIOD = 30 * 86_400.0
"""Seconds of usage that are told."""


def router(keys: KeyDirectory, limiter: Limiter, usage: Reports, clock: Clock | None = None) -> APIRouter:
    """`GET /v1/me`; of its tenant a key learns the name and the limits, and nothing of other keys."""
    routes = APIRouter()
    clock = clock or SystemClock()

    @routes.get("/v1/me")
    async def me(request: Request) -> JSONResponse:
        key = await identify(headers_of(request.scope), keys)
        mine = UsageFilter(tenant_id=key.tenant.id, key_id=key.id, start=clock.time() - PERIOD)
        about = _about(key) | {
            "limits": await _limits(key, limiter),
            "usage": await usage.summary(mine, ["day"]),
        }
        return JSONResponse(about, headers={"cache-control": "no-store"})

    return routes


def _about(key: Key) -> dict[str, Any]:
    tenant = key.tenant
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "tenant": tenant.name,
        "models": _models(key),
        "model_limits": {model: asdict(limits) for model, limits in sorted(tenant.model_limits.items())},
        "expires_at": key.expires_at,
    }


def _models(key: Key) -> list[str] | None:
    """What tenant and key both grant; None = all."""
    granted = [models for models in (key.tenant.models, key.models) if models is not None]
    return sorted(frozenset.intersection(*granted)) if granted else None


async def _limits(key: Key, limiter: Limiter) -> list[dict[str, Any]]:
    """Each limit of the key and its tenant; `reset_s` in seconds."""
    return [
        {
            "of": owner,
            "rule": decision.rule,
            "limit": decision.limit,
            "used": decision.limit - decision.remaining,
            "remaining": decision.remaining,
            "reset_s": decision.reset_after,
        }
        for owner, decision in await limiter.standing(key)
    ]
