"""The gateway itself over REST: its configuration, taking it anew, and who changed what."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query

from app.admin.pages import Listing, PageQuery, listing
from app.admin.routes import Parts, Who, guarded
from app.admin.trail import note

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "gateway", changes="admin")
    routes.post("/reload")(reload)
    routes.get("/config")(show_config)
    routes.get("/audit")(list_audit)
    return routes


async def reload(parts: Parts, who: Who) -> dict[str, Any]:
    """All of the new configuration or nothing; open streams live on. 400 says what is wrong with it."""
    changed = await parts.reload()
    await note(parts.audit, who, "config.reload", "config", {"changed": changed})
    return {"reloaded": True, "changed": changed}


async def show_config(parts: Parts) -> dict[str, Any]:
    """The effective one; secrets are masked."""
    return parts.config()


async def list_audit(query: Annotated[PageQuery, Query()], parts: Parts) -> Listing[dict[str, Any]]:
    """Newest first."""
    return listing(await parts.audit.page(query.limit, query.cursor), asdict)
