"""Keeps the sums of past calls: takes in what is past a portion at a time, and adds what comes late.

Two marks, in `counters`. What arrived before `rolling` and changes is noted among the late ones by the
database itself, with the change, whoever makes it. What arrived before `rolled` is in the sums; the two
differ only while a portion is taken in. No clock and no gateway's death can make a sum wrong, only slow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, cast, delete, func, select, text, update

from app.store.sums import DAY, OF_A_CALL, QUARTER, SUMS, TABLES, ended, snapshot
from app.store.tables import counters, usage, usage_late

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.store.database import Database

    Sums = tuple[Any, ...]

EVERY = 60.0
LAG = 300.0
"""Seconds that most calls have ended in: what ends later is added one by one."""

PATIENCE = 60.0
PORTION = 50_000
"""Calls taken in at once, or one second's, however many these are."""
_LATE = 5000
_LENGTH = len(SUMS)


class Rollups:
    """Several gateways may do this at once: whatever two of them begin, one completes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._quarter = _quarter(database.dialect)

    async def roll(self, until: float) -> bool:
        """Take in a portion of the calls before a moment, rounded up to a second, or add late ones; False: none left."""
        rolled, rolling = await self._marks()
        if rolling == rolled:
            rolling = await self._next(rolled, until)
        if rolling > rolled:
            await self._take_in(rolled, rolling)
            return True
        return await self._add_late()

    async def reach(self, until: float) -> None:
        """All of it."""
        while await self.roll(until):
            pass

    async def _marks(self) -> tuple[int, int]:
        async with snapshot(self._database, PATIENCE) as connection:
            rolled = await connection.scalar(_mark("rolled"))
            return rolled or 0, await connection.scalar(_mark("rolling")) or 0

    async def _next(self, rolled: int, until: float) -> int:
        """How far the next portion goes, in whole seconds."""
        upcoming = select(usage.c.started_at).where(usage.c.started_at >= rolled).order_by(usage.c.started_at)
        async with self._database.read(PATIENCE) as connection:
            beyond = await connection.scalar(upcoming.limit(1).offset(PORTION))
        most = math.ceil(until)
        return most if beyond is None else min(most, max(int(beyond), rolled + 1))

    async def _take_in(self, rolled: int, rolling: int) -> None:
        """From the first commit on changes are noted; what the snapshot held of them is in its sums."""
        async with self._database.write(PATIENCE) as connection:
            if not await _moved(connection, "rolling", rolled, rolling):
                rolling = await connection.scalar(_mark("rolling")) or 0
        if self._database.dialect == "postgresql":
            await self._see_writers_off()
        within = (usage.c.started_at >= rolled, usage.c.started_at < rolling)
        async with snapshot(self._database, PATIENCE) as connection:
            sums = await self._sums(connection, *within)
            noted = await connection.scalars(
                select(usage_late.c.id).where(
                    usage_late.c.started_at >= rolled, usage_late.c.started_at < rolling
                )
            )
            late = list(noted)
        async with self._database.write(PATIENCE) as connection:
            if await _moved(connection, "rolled", rolled, rolling):
                await _add(connection, sums)
                await _forget(connection, late)

    async def _sums(self, connection: AsyncConnection, *within: ColumnElement[bool]) -> list[Sums]:
        endpoint = func.coalesce(usage.c.endpoint, "")
        named = (usage.c.tenant_id, usage.c.key_id, usage.c.model, endpoint, usage.c.surface, usage.c.state)
        key = (self._quarter, usage.c.hour, *named)
        sums = (func.sum(OF_A_CALL[name]) for name in SUMS)
        query = select(*key, *sums).where(ended, *within).group_by(*key)
        return [tuple(row) for row in await connection.execute(query)]

    async def _see_writers_off(self) -> None:
        """Wait for the transactions that may have looked at the mark before it moved."""
        writing = text(
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
            " AND relation = 'usage'::regclass AND mode = 'RowExclusiveLock' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with self._database.read(PATIENCE) as connection:
            former = set(await connection.scalars(writing))
            while former:
                await connection.execute(text("SELECT pg_sleep(0.01)"))
                former &= set(await connection.scalars(writing))

    async def _add_late(self) -> bool:
        """One portion of what was noted; whether there was any."""
        past = select(usage_late).where(usage_late.c.started_at < _mark("rolled").scalar_subquery())
        async with self._database.read(PATIENCE) as connection:
            if (await connection.execute(past.limit(1))).first() is None:
                return False
        async with self._database.write(PATIENCE) as connection:
            rolled = await connection.scalar(_mark("rolled").with_for_update()) or 0
            portion = select(usage_late).where(usage_late.c.started_at < rolled).order_by(usage_late.c.id)
            rows = (await connection.execute(portion.limit(_LATE))).all()
            await _add(connection, [(int(row[1] // QUARTER) * QUARTER, *row[2:]) for row in rows])
            await _forget(connection, [row.id for row in rows])
        return True


async def _moved(connection: AsyncConnection, name: str, before: int, after: int) -> bool:
    """False when another gateway was faster."""
    mark = update(counters).where(counters.c.name == name, counters.c.value == before)
    return bool((await connection.execute(mark.values(value=after))).rowcount)


async def _add(connection: AsyncConnection, sums: Iterable[Sums]) -> None:
    rows = list(sums)
    for size, table in sorted(TABLES.items()):
        period = 10 if size == DAY else None
        rows = _together((row[0] // size * size, row[1][:period], *row[2:]) for row in rows)
        names = [column.name for column in table.columns]
        values = [dict(zip(names, row, strict=True)) for row in rows]
        if values:
            await connection.execute(text(_upsert(table)), values)


def _together(sums: Iterable[Sums]) -> list[Sums]:
    """Rows of the same key as one, ordered by it; PostgreSQL sums to decimals."""
    found: dict[Sums, list[Any]] = {}
    for row in sums:
        key, counts = row[:-_LENGTH], row[-_LENGTH:]
        known = found.setdefault(key, [0] * _LENGTH)
        for place, count in enumerate(counts):
            known[place] += count if isinstance(count, float) else int(count)
    return [(*key, *counts) for key, counts in sorted(found.items())]


def _upsert(table: Table) -> str:
    names = [column.name for column in table.columns]
    key, counts = names[:-_LENGTH], names[-_LENGTH:]
    added = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in counts)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}"
    )


async def _forget(connection: AsyncConnection, late: list[int]) -> None:
    for begin in range(0, len(late), _LATE):
        await connection.execute(delete(usage_late).where(usage_late.c.id.in_(late[begin : begin + _LATE])))


def _mark(name: str) -> Any:
    return select(counters.c.value).where(counters.c.name == name)


def _quarter(dialect: str) -> ColumnElement[Any]:
    """PostgreSQL rounds where it casts; not every SQLite has floor()."""
    count = usage.c.started_at / QUARTER
    return cast(func.floor(count) if dialect == "postgresql" else count, BigInteger) * QUARTER
