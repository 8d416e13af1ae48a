"""Who changed what, when, and from where; written once, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from app.store.page import Page, bounded, cut, decode_cursor
from app.store.tables import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.clock import Clock
    from app.store.database import Database


@dataclass(frozen=True, slots=True)
class AuditRow:
    """`actor` is a token's name, `subject` what was changed, `origin` the address it came from."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    origin: str
    detail: Mapping[str, Any] | None


class Audit:
    """`detail` must hold no secret: it is shown as it is."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(
        self,
        actor: str,
        action: str,
        subject: str,
        *,
        origin: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        row = {"actor": actor, "action": action, "subject": subject, "origin": origin, "detail": detail}
        async with self._database.write() as connection:
            await connection.execute(insert(audit).values(row | {"at": self._clock.time()}))

    async def page(self, limit: int | None = None, cursor: str | None = None) -> Page[AuditRow]:
        """Newest first."""
        size = bounded(limit)
        query = select(audit).order_by(audit.c.id.desc()).limit(size + 1)
        if cursor is not None:
            query = query.where(audit.c.id < decode_cursor(cursor, int)[0])
        async with self._database.read() as connection:
            rows = [AuditRow(**row) for row in (await connection.execute(query)).mappings()]
        return cut(rows, size, "id")
