"""What engines counted themselves, as their metrics said: absolute, so that no scrape is counted twice.

A row is one counter's life within one quarter of an hour. Within a life counters only grow: whichever
gateways look, in whatever order they write, its first and its last value are the least and the greatest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, select, text

from app.store.sums import QUARTER
from app.store.tables import engine_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.core.clock import Clock
    from app.store.database import Database

EVERY = 60.0
_PATIENCE = 10.0
_NAMES = [column.name for column in engine_counts.columns]
_WIDER = ", ".join(
    f"{name} = CASE WHEN excluded.{name} {'<' if name.startswith('first') else '>'} engine_counts.{name}"
    f" THEN excluded.{name} ELSE engine_counts.{name} END"
    for name in _NAMES[4:]
)
_KEPT = (
    f"INSERT INTO engine_counts ({', '.join(_NAMES)}) VALUES ({', '.join(f':{name}' for name in _NAMES)})"  # noqa: S608
    f" ON CONFLICT (endpoint, series, life, start) DO UPDATE SET {_WIDER}"
)


class Sample(NamedTuple):
    """Tokens that a counter had reached, `at` wall clock."""

    at: float
    prompt: int
    completion: int


class Series(NamedTuple):
    """`name` tells an endpoint's engines and models apart; `life` is when its count began, None = not told."""

    endpoint: str
    name: str
    life: float | None
    quarter: int


class EngineCounts:
    """Hears every scrape and writes once a minute; what is lost with a process the next scrape holds too."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._heard: dict[Series, tuple[Sample, Sample]] = {}

    def heard(self, endpoint: str, counts: Iterable[tuple[str, float | None, int, int]]) -> None:
        """`counts`: name, life, prompt and completion tokens of each series."""
        now = self._clock.time()
        for name, life, prompt, completion in counts:
            series = Series(endpoint, name, life, int(now // QUARTER) * QUARTER)
            sample = Sample(now, prompt, completion)
            known = self._heard.get(series)
            if known is not None and life is None and _restarted(known[1], sample):
                known = None  # the former life's last minute is lost
            self._heard[series] = (known[0] if known else sample, sample)

    async def keep(self) -> None:
        """Write what was heard. Raises StorageUnavailable; then it is written the next time."""
        if not self._heard:
            return
        heard = dict(self._heard)
        async with self._database.write(_PATIENCE) as connection:
            if self._database.dialect == "postgresql":
                await connection.execute(text("LOCK TABLE engine_counts IN EXCLUSIVE MODE"))
            for series, (first, last) in sorted(heard.items(), key=lambda item: item[0].quarter):
                life = await _life(connection, series, last)
                row = (series.endpoint, series.name, life, series.quarter, *first, *last)
                await connection.execute(text(_KEPT), dict(zip(_NAMES, row, strict=True)))
        for series, (_, last) in heard.items():
            if self._heard[series][1] is last:
                del self._heard[series]

    async def prune(self, before: float) -> None:
        """Forget what was counted before a moment."""
        async with self._database.write(_PATIENCE) as connection:
            await connection.execute(delete(engine_counts).where(engine_counts.c.start + QUARTER <= before))


async def _life(connection: AsyncConnection, series: Series, sample: Sample) -> float:
    """Of a counter that does not tell when it began: the latest known, unless it fell far below that."""
    if series.life is not None:
        return series.life
    of = (engine_counts.c.endpoint == series.endpoint, engine_counts.c.series == series.name)
    newest = (engine_counts.c.life.desc(), engine_counts.c.start.desc())
    row = (await connection.execute(select(engine_counts).where(*of).order_by(*newest).limit(1))).first()
    if row is None:
        return 0.0
    former = Sample(row.last_at, row.last_prompt, row.last_completion)
    return sample.at if _restarted(former, sample) else row.life


def _restarted(former: Sample, sample: Sample) -> bool:
    """Another gateway's clock may be some seconds off: only a fall by half is one."""
    fell = 2 * (sample.prompt + sample.completion) < former.prompt + former.completion
    return fell and sample.at > former.at
