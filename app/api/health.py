"""Whether this gateway lives, should get traffic, and which build it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def router(unready: Callable[[], list[str]], info: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """`unready` lists the reasons why this gateway should get no traffic, empty when there are none."""
    routes = APIRouter()

    @routes.get("/health")
    @routes.get("/livez")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @routes.get("/ready")
    @routes.get("/readyz")
    async def ready() -> JSONResponse:
        reasons = unready()
        if reasons:
            return JSONResponse({"status": "unready", "reasons": reasons}, 503, {"retry-after": "1"})
        return JSONResponse({"status": "ready"})

    @routes.get("/info")
    async def about() -> JSONResponse:
        return JSONResponse(dict(info()))

    return routes
