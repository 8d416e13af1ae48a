"""Writes down every change: who made it, what it was before and after, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from app.admin.access import Operator
    from app.store.audit import Audit

_LONGEST_ORIGIN = 64


async def note(
    audit: Audit, who: Operator, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """`detail` holds no secret."""
    await audit.record(who.name, action, subject, origin=who.origin[:_LONGEST_ORIGIN], detail=detail)


def difference(before: BaseModel | None, after: BaseModel | None) -> dict[str, Any]:
    """The fields that are not the same, as they were and as they are; None where there was nothing."""
    old = {} if before is None else before.model_dump()
    new = {} if after is None else after.model_dump()
    changed = [name for name in old | new if old.get(name) != new.get(name) and name != "updated_at"]
    return {
        "before": None if before is None else {name: old.get(name) for name in changed},
        "after": None if after is None else {name: new.get(name) for name in changed},
    }
