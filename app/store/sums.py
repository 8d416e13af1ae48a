"""Sums of ended calls over any span of time, put together from those of days, hours and quarters.

Every call that arrived before the `rolled` mark is in the sums of its quarter, hour and day, or waits
among the late ones to be added; every later call, and every call of a quarter that is cut, counts by its row.
Quarters suit every timezone: hours begin on one wherever one is.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, case, func, literal, or_, select, text, union_all

from app.store.tables import counters, usage, usage_days, usage_hours, usage_late, usage_quarters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy import ColumnElement, Select, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.store.database import Database
    from app.store.reports import UsageFilter

QUARTER = 900
HOUR = 3600
DAY = 86_400
TABLES = {DAY: usage_days, HOUR: usage_hours, QUARTER: usage_quarters}
"""By the length of their sums, the coarsest first."""

GROUPS = {
    "tenant": "tenant_id",
    "key": "key_id",
    "model": "model",
    "endpoint": "endpoint",
    "surface": "surface",
    "hour": "hour",
    "day": "day",
    "month": "month",
}
"""What sums can be grouped by, and its name in a row."""

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "wasted_tokens")
SUMS = ("requests", "errors", *TOKENS, "cost")

ended = usage.c.state != "open"
_failed = and_(
    func.coalesce(usage.c.status, 0) != 499,
    or_(usage.c.error_code.is_not(None), func.coalesce(usage.c.status, 0) >= 400),
)
OF_A_CALL: dict[str, ColumnElement[Any]] = {
    "requests": literal(1),
    "errors": case((_failed, 1), else_=0),
    **{name: usage.c[name] for name in (*TOKENS, "cost")},
}

Span = tuple[float, float]


class Pieces(NamedTuple):
    """Where the calls of a span are found, each once; spans begin with their first and end before their second.

    `rolled` are sums by their length; what is late in `late` counts with them. `calls` count by their rows.
    """

    rolled: Sequence[tuple[int, Span]]
    late: Span | None
    calls: Sequence[Span]


def pieces(start: float | None, end: float | None, rolled: int, *, coarsest: int = DAY) -> Pieces:
    """None is no bound. Sums of a running quarter, hour or day end at `rolled`."""
    first, last = start or 0.0, math.inf if end is None else end
    begin = -int(-first // QUARTER) * QUARTER
    until = rolled if last >= rolled else int(last // QUARTER) * QUARTER
    if begin >= until:
        return Pieces([], None, [(first, last)])
    sizes = [size for size in TABLES if size <= coarsest]
    calls = [span for span in ((first, begin), (until, last)) if span[0] < span[1]]
    return Pieces([*_divided(begin, until, sizes, running=until == rolled)], (begin, until), calls)


def _divided(begin: int, until: int, sizes: Sequence[int], *, running: bool) -> Iterator[tuple[int, Span]]:
    """As much as can be in the coarsest sums, the rest on both sides in finer ones."""
    if begin >= until:
        return
    size, *finer = sizes
    first = -(-begin // size) * size
    last = -(-until // size) * size if running else until // size * size
    if first >= last:
        yield from _divided(begin, until, finer, running=running)
        return
    yield size, (first, last)
    yield from _divided(begin, first, finer, running=False)
    yield from _divided(last, until, finer, running=False)


async def summed(
    connection: AsyncConnection, which: UsageFilter, groups: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each group, in the groups' order; without groups one row. Ask within a snapshot."""
    rolled = await connection.scalar(select(counters.c.value).where(counters.c.name == "rolled"))
    found = pieces(which.start, which.end, rolled or 0, coarsest=HOUR if "hour" in groups else DAY)
    parts = [_part(TABLES[size], span, which, groups) for size, span in found.rolled]
    parts += [_part(usage, span, which, groups) for span in found.calls]
    if found.late is not None:
        parts.append(_part(usage_late, found.late, which, groups))
    every = union_all(*parts).subquery()
    names = [GROUPS[name] for name in groups]
    query = select(*(every.c[name] for name in names), *(_total(every.c[name]) for name in SUMS))
    if names:
        grouped = [every.c[name] for name in names]
        query = query.group_by(*grouped).order_by(*grouped).having(func.sum(every.c.requests) > 0)
    rows = (await connection.execute(query)).mappings().all()
    return [_plain(row) for row in rows]


@asynccontextmanager
async def snapshot(database: Database, limit: float) -> AsyncIterator[AsyncConnection]:
    """A transaction for reading in which every statement sees the same moment."""
    async with database.read(limit) as connection:
        if database.dialect == "postgresql":
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        yield connection


def _part(table: Table, span: Span, which: UsageFilter, groups: Sequence[str]) -> Select[Any]:
    single = table is usage
    moment = table.c.started_at if "started_at" in table.c else table.c.start
    within = [moment >= span[0]] if span[0] else []
    if span[1] != math.inf:
        within.append(moment < span[1])
    if single:
        within.append(ended)
    named = {
        name: _named(table, name) for name in ("tenant_id", "key_id", "model", "endpoint", "surface", "state")
    }
    wanted = [named[name] == getattr(which, name) for name in named if getattr(which, name) is not None]
    columns = [_named(table, GROUPS[name]).label(GROUPS[name]) for name in groups]
    sums = [(OF_A_CALL[name] if single else table.c[name]).label(name) for name in SUMS]
    return select(*columns, *sums).where(*within, *wanted)


def _named(table: Table, name: str) -> ColumnElement[Any]:
    if name == "endpoint" and table is not usage:
        return func.nullif(table.c.endpoint, "")
    if name in ("day", "month"):
        moment = table.c.day if "day" in table.c else table.c.hour
        return func.substr(moment, 1, 10 if name == "day" else 7)
    return table.c[name]


def _total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    nothing = 0.0 if column.name == "cost" else 0
    return func.coalesce(func.sum(column), nothing).label(column.name)


def _plain(row: Any) -> dict[str, Any]:
    """PostgreSQL sums integers to decimals; a float fits money and nothing else here."""
    plain = {name: int(value) if name in SUMS and name != "cost" else value for name, value in row.items()}
    cost = plain.pop("cost")
    return plain | {"total_tokens": plain["prompt_tokens"] + plain["completion_tokens"], "cost": cost}
