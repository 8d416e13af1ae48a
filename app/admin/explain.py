"""Why a call went where it went, or was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.admin.fields import Id
from app.admin.routes import Parts, guarded
from app.core.errors import NotFound, NotImplementedYet
from app.upstream.explain import candidates

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts


def router(parts: AdminParts) -> APIRouter:
    """A dry run changes nothing: whoever may read may ask for one."""
    routes = guarded(parts, "explain", changes="viewer")
    routes.get("/requests/{call_id}")(explain_call)
    routes.post("/explain")(dry_run)
    return routes


async def explain_call(call_id: Id, parts: Parts) -> dict[str, Any]:
    """Limits with used, limit and reset; attempts with times. The latest calls are remembered.

    `candidates` are the endpoints and what speaks against each as it stands now, not as it stood then.
    """
    told = parts.explain(call_id)
    if told is None:
        raise NotFound("This call is not among those remembered; its usage may be under /usage/requests.")
    return told | {"candidates": candidates(parts.fleet, told["model"])}


async def dry_run() -> dict[str, Any]:
    """Where a call would go; not available."""
    raise NotImplementedYet
