"""All of the operators' edge as one router, where nothing answers without a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.admin import docs, explain, fleet, inflight, keys, ops, tenants, usage
from app.admin.routes import guarded
from app.core.errors import NotFound

if TYPE_CHECKING:
    from app.admin.parts import AdminParts

NOUNS = (tenants, keys, usage, fleet, inflight, explain, ops)
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def admin_router(parts: AdminParts) -> APIRouter:
    """To be mounted at /admin, in an application that answers GatewayError and HTTPException."""
    routes, described = APIRouter(), APIRouter()
    routers = [noun.router(parts) for noun in NOUNS]
    for each in routers:
        described.include_router(each)
    routers.append(docs.router(parts, described))
    for each in (*routers, _otherwise(parts, routers)):
        routes.include_router(each)
    return routes


def _otherwise(parts: AdminParts, routers: list[APIRouter]) -> APIRouter:
    """Unknown paths and wrong methods: they too tell nothing to those without a token."""
    known = [route for each in routers for route in each.routes if isinstance(route, APIRoute)]
    rest = guarded(parts, "rest", changes="viewer", prefix="")

    async def nothing(path: str) -> None:
        allowed = {
            method for route in known if route.path_regex.match(f"/{path}") for method in route.methods or ()
        }
        if allowed:
            raise HTTPException(405, headers={"allow": ", ".join(sorted(allowed))})
        raise NotFound

    rest.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)(nothing)
    return rest
