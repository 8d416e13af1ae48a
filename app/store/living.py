"""How many gateways use this store at present."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.store.orphans import DEAD_AFTER
from app.store.tables import gateways

if TYPE_CHECKING:
    from app.store.database import Database


async def living(database: Database, now: float) -> int:
    """Those seen lately, this one included once it was; `now` is wall clock."""
    query = select(func.count()).select_from(gateways).where(gateways.c.seen_at > now - DEAD_AFTER)
    async with database.read() as connection:
        return int(await connection.scalar(query) or 0)
