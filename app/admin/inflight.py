"""Running calls over REST: the live table, and the means to end one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query

from app.admin.fields import Id
from app.admin.pages import Listing, PageQuery, window
from app.admin.routes import Parts, Who, guarded
from app.admin.trail import note
from app.core.errors import NotFound, Stopped

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "inflight", changes="operator")
    routes.get("/inflight")(list_running)
    routes.delete("/inflight/{call_id}", status_code=204)(stop_call)
    return routes


async def list_running(query: Annotated[PageQuery, Query()], parts: Parts) -> Listing[dict[str, Any]]:
    """Oldest first; times in seconds."""
    return window(parts.inflight.rows(), query, "started_at", "call_id")


async def stop_call(call_id: Id, parts: Parts, who: Who) -> None:
    """Ends at once, at the engine too; what was used is recorded."""
    if not parts.inflight.stop(call_id, Stopped()):
        raise NotFound("There is no such call under way.")
    await note(parts.audit, who, "call.stop", call_id)
