"""What of the running quotas is used up already, out of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import case, func, select

from app.store.tables import usage

if TYPE_CHECKING:
    from app.store.database import Database


class Spent(NamedTuple):
    """Tokens of settled calls that arrived in the running day and month."""

    tenant_id: str
    key_id: str
    model: str
    day: int
    month: int


async def spent(database: Database, day: float, month: float, tenant_id: str | None = None) -> list[Spent]:
    """Of one tenant, or of all; `day` and `month` are when these began, wall clock."""
    tokens = usage.c.prompt_tokens + usage.c.completion_tokens
    today = func.sum(case((usage.c.started_at >= day, tokens), else_=0))
    query = (
        select(usage.c.tenant_id, usage.c.key_id, usage.c.model, today, func.sum(tokens))
        .where(usage.c.state == "settled", usage.c.started_at >= month)
        .group_by(usage.c.tenant_id, usage.c.key_id, usage.c.model)
    )
    if tenant_id is not None:
        query = query.where(usage.c.tenant_id == tenant_id)
    async with database.read(limit=60.0) as connection:
        return [Spent(*row[:3], int(row[3]), int(row[4])) for row in await connection.execute(query)]
