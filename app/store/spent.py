"""What of the running quotas is used up already, out of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.store.reports import PATIENCE, UsageFilter
from app.store.sums import snapshot, summed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.store.database import Database

_BY = ("tenant", "key", "model")


class Spent(NamedTuple):
    """Tokens of settled calls that arrived in the running day and month."""

    tenant_id: str
    key_id: str
    model: str
    day: int
    month: int


async def spent(database: Database, day: float, month: float, tenant_id: str | None = None) -> list[Spent]:
    """Of one tenant, or of all; `day` and `month` are when these began, wall clock.

    Calls of the future count as well.
    """
    async with snapshot(database, PATIENCE) as connection:
        today = await summed(connection, UsageFilter(tenant_id, state="settled", start=day), _BY)
        ever = await summed(connection, UsageFilter(tenant_id, state="settled", start=month), _BY)
    used = {_subject(row): row["total_tokens"] for row in today}
    return [Spent(*_subject(row), used.get(_subject(row), 0), row["total_tokens"]) for row in ever]


def _subject(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["tenant_id"], row["key_id"], row["model"]
