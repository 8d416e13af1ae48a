"""The fleet over REST: every endpoint as it is, and what operators want of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.admin.fields import Id
from app.admin.pages import Listing
from app.admin.routes import Parts, Who, guarded
from app.admin.schemas import FleetOrder
from app.admin.trail import note
from app.core.errors import NotFound

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.access import Operator
    from app.admin.parts import AdminParts
    from app.store.intents import Wish

UNSAID = FleetOrder()


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "fleet", changes="operator")
    routes.get("/fleet")(list_endpoints)
    for act in (drain, resume, eject, restore):
        routes.post(f"/fleet/{{endpoint}}/{act.__name__}")(act)
    return routes


async def list_endpoints(parts: Parts) -> Listing[dict[str, Any]]:
    """Times in seconds; `intent` is what an operator wants of the endpoint."""
    return Listing(data=_rows(parts))


async def drain(endpoint: Id, parts: Parts, who: Who, order: FleetOrder | None = None) -> dict[str, Any]:
    """No new calls for so long, or until it is resumed; running ones finish."""
    return await _want(parts, who, endpoint, "drain", order or UNSAID)


async def eject(endpoint: Id, parts: Parts, who: Who, order: FleetOrder | None = None) -> dict[str, Any]:
    """Left out while others can take its calls."""
    return await _want(parts, who, endpoint, "eject", order or UNSAID)


async def resume(endpoint: Id, parts: Parts, who: Who, order: FleetOrder | None = None) -> dict[str, Any]:
    """Ends a drain."""
    before = _row(parts, endpoint)["intent"]
    await parts.wishes.take_back(endpoint, "drain")
    return await _taken_back(parts, who, endpoint, "resume", order or UNSAID, before)


async def restore(endpoint: Id, parts: Parts, who: Who, order: FleetOrder | None = None) -> dict[str, Any]:
    """Ends an ejection, also one that the gateway decided on by itself."""
    before, order = _row(parts, endpoint)["intent"], order or UNSAID
    await parts.wishes.restore(endpoint, actor=who.name, reason=order.reason)
    return await _taken_back(parts, who, endpoint, "restore", order, before)


async def _want(
    parts: AdminParts, who: Operator, endpoint: str, wish: Wish, order: FleetOrder
) -> dict[str, Any]:
    before = _row(parts, endpoint)["intent"]
    await parts.wishes.say(endpoint, wish, actor=who.name, reason=order.reason, seconds=order.seconds)
    after = _row(parts, endpoint)
    await note(parts.audit, who, f"fleet.{wish}", endpoint, {"before": before, "after": after["intent"]})
    return after


async def _taken_back(
    parts: AdminParts, who: Operator, endpoint: str, action: str, order: FleetOrder, before: Any
) -> dict[str, Any]:
    after = _row(parts, endpoint)
    detail = {"before": before, "after": after["intent"], "reason": order.reason}
    await note(parts.audit, who, f"fleet.{action}", endpoint, detail)
    return after


def _rows(parts: AdminParts) -> list[dict[str, Any]]:
    return [row | {"intent": _intent(parts, row["name"])} for row in parts.fleet.status()["endpoints"]]


def _row(parts: AdminParts, endpoint: str) -> dict[str, Any]:
    if endpoint not in parts.fleet.endpoints:
        raise NotFound("There is no endpoint of this name.")
    return next(row for row in _rows(parts) if row["name"] == endpoint)


def _intent(parts: AdminParts, endpoint: str) -> dict[str, Any] | None:
    intent = parts.wishes.about(endpoint)
    if intent is None:
        return None
    return {"want": intent.intent, "reason": intent.reason, "actor": intent.actor, "until": intent.until}
