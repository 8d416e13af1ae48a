"""Reads the ledger: sums by group, rows a page at a time, all rows as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, tuple_

from app.core.errors import InvalidRequest
from app.store.page import Page, bounded, decode_cursor, encode_cursor
from app.store.rollups import Rollups
from app.store.sums import GROUPS, ended, snapshot, summed
from app.store.tables import usage
from app.store.usage import COLUMNS, UsageRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import ColumnElement

    from app.store.database import Database

# A year of a busy ledger takes a while to sum.
SHOWN = tuple(name for name in COLUMNS if name not in ("hour", "gateway"))
"""The fields of a row that concern anybody but the store."""

PATIENCE = 60.0
PRUNE_EVERY = 3600.0
_CHUNK = 1000
_PRUNED = 5000


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """None = any. `start` and `end` are wall clock, the end is not included."""

    tenant_id: str | None = None
    key_id: str | None = None
    model: str | None = None
    endpoint: str | None = None
    surface: str | None = None
    state: str | None = None
    start: float | None = None
    end: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        names = ("tenant_id", "key_id", "model", "endpoint", "surface", "state")
        exact = [usage.c[name] == getattr(self, name) for name in names if getattr(self, name) is not None]
        if self.start is not None:
            exact.append(usage.c.started_at >= self.start)
        if self.end is not None:
            exact.append(usage.c.started_at < self.end)
        return exact


EVERYTHING = UsageFilter()


class Reports:
    """Open rows are in no sum; void ones count as requests and hold no tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summary(
        self, which: UsageFilter = EVERYTHING, group_by: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """One row per group, in the groups' order; groups are names of GROUPS. Raises InvalidRequest."""
        unknown = [name for name in group_by if name not in GROUPS]
        if unknown:
            raise InvalidRequest(f"group_by takes {', '.join(GROUPS)}.", param="group_by")
        async with snapshot(self._database, PATIENCE) as connection:
            return await summed(connection, which, list(dict.fromkeys(group_by)))

    async def page(
        self, which: UsageFilter = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> Page[UsageRow]:
        """Newest first, open rows too."""
        size = bounded(limit)
        after = None if cursor is None else decode_cursor(cursor, float, str)
        rows = await self._rows(which, size + 1, after)
        if len(rows) <= size:
            return Page(rows)
        last = rows[size - 1]
        return Page(rows[:size], encode_cursor(last.started_at, last.call_id))

    async def export(self, which: UsageFilter = EVERYTHING) -> AsyncIterator[UsageRow]:
        """Every row, newest first, however many: no transaction lasts longer than one chunk."""
        after: tuple[Any, ...] | None = None
        while rows := await self._rows(which, _CHUNK, after):
            for row in rows:
                yield row
            after = (rows[-1].started_at, rows[-1].call_id)

    async def call(self, call_id: str) -> UsageRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(usage).where(usage.c.call_id == call_id))).first()
        return None if row is None else UsageRow(*row)

    async def prune(self, before: float) -> int:
        """Delete ended calls that arrived before a moment; how many. Writers get a turn in between.

        Their sums stay, by whole quarters of an hour.
        """
        async with self._database.read(PATIENCE) as connection:
            newest = await connection.scalar(select(func.max(usage.c.started_at)))
        if newest is None:
            return 0
        await Rollups(self._database).reach(min(before, newest + 1))
        oldest = select(usage.c.call_id).where(ended, usage.c.started_at < min(before, newest + 1))
        pruned = 0
        while True:
            async with self._database.write(PATIENCE) as connection:
                portion = delete(usage).where(usage.c.call_id.in_(oldest.limit(_PRUNED)))
                gone = (await connection.execute(portion)).rowcount
            pruned += gone
            if gone < _PRUNED:
                return pruned

    async def _rows(self, which: UsageFilter, limit: int, after: tuple[Any, ...] | None) -> list[UsageRow]:
        newest = (usage.c.started_at.desc(), usage.c.call_id.desc())
        query = select(usage).where(*which.conditions()).order_by(*newest).limit(limit)
        if after is not None:
            query = query.where(tuple_(usage.c.started_at, usage.c.call_id) < tuple_(*after))
        async with self._database.read(PATIENCE) as connection:
            return [UsageRow(*row) for row in await connection.execute(query)]
