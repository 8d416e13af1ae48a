"""The ledger against the engines' own counters: what each made, what of it is in our book."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import and_, func, or_, select, tuple_

from app.core.errors import InvalidRequest
from app.store.growth import Kept, growth
from app.store.reports import PATIENCE, Reports, UsageFilter
from app.store.sums import QUARTER, snapshot
from app.store.tables import engine_counts, usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.store.database import Database
    from app.store.growth import Growth

MOST_SPANS = 1000
EVERY = 900.0
LONGEST = 3600.0
"""Seconds that a call may have been under way before the edge of a span."""

_NOTHING = MappingProxyType({"prompt_tokens": 0, "completion_tokens": 0, "wasted_tokens": 0})

Verdict = Literal["equal", "others", "overbooked", "unknown"]


@dataclass(frozen=True, slots=True)
class Balance:
    """One endpoint in one span. A gap is what the engine counted more than the ledger.

    Tolerances are the tokens of calls that were under way while nobody looked: at the span's edges, and
    where the engine restarted. Beyond these, more at the engine is somebody else's use of it (`others`; calls
    that ended badly and n > 1 prompts belong there too), and more in the ledger must not be (`overbooked`).
    """

    endpoint: str
    start: float
    end: float
    engine_prompt_tokens: int | None
    prompt_tokens: int
    prompt_tolerance: int
    engine_completion_tokens: int | None
    completion_tokens: int
    completion_tolerance: int
    wasted_tokens: int
    restarts: int

    @property
    def gaps(self) -> dict[str, int]:
        """By kind of token; empty when nobody looked."""
        if self.engine_prompt_tokens is None or self.engine_completion_tokens is None:
            return {}
        return {
            "prompt": self.engine_prompt_tokens - self.prompt_tokens,
            "completion": self.engine_completion_tokens - self.completion_tokens,
        }

    @property
    def overbooked(self) -> dict[str, int]:
        """What the tolerance does not explain, by kind of token."""
        most = {"prompt": self.prompt_tolerance, "completion": self.completion_tolerance}
        return {kind: max(0, -gap - most[kind]) for kind, gap in self.gaps.items()}

    @property
    def verdict(self) -> Verdict:
        if not self.gaps:
            return "unknown"
        if any(self.overbooked.values()):
            return "overbooked"
        most = {"prompt": self.prompt_tolerance, "completion": self.completion_tolerance}
        return "others" if any(gap > most[kind] for kind, gap in self.gaps.items()) else "equal"

    def row(self) -> dict[str, Any]:
        gaps = {f"{kind}_gap": self.gaps.get(kind) for kind in ("prompt", "completion")}
        return asdict(self) | gaps | {"verdict": self.verdict}


class Seen(NamedTuple):
    """What is known of an endpoint's counters; `since` when they were first looked at."""

    since: float
    rows: list[Kept]


class Reconciliation:
    """Spans are made of whole quarters of an hour."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reports = Reports(database)
        self.latest: list[Balance] = []

    async def look(self, now: float) -> None:
        """Take stock, in `latest`, of the hour up to the last full quarter but one."""
        end = int(now // QUARTER - 1) * QUARTER
        self.latest = await self.balances(end - LONGEST, end)

    async def balances(
        self, start: float, end: float, endpoint: str | None = None, step: float | None = None
    ) -> list[Balance]:
        """By time, then by endpoint; `step` divides the span. Raises InvalidRequest."""
        first, last = int(start // QUARTER) * QUARTER, -int(-end // QUARTER) * QUARTER
        length = last - first if step is None else max(QUARTER, int(step // QUARTER) * QUARTER)
        if last <= first:
            raise InvalidRequest("The span must end after its start.", param="end")
        if (last - first) / length > MOST_SPANS:
            raise InvalidRequest(f"These are more than {MOST_SPANS} spans.", param="step")
        seen = await self._seen(first, last, endpoint)
        found: list[Balance] = []
        for begin in range(first, last, length):
            found += await self._span(begin, min(begin + length, last), endpoint, seen)
        return found

    async def _seen(self, start: int, end: int, endpoint: str | None) -> dict[str, Seen]:
        """By endpoint: its rows in the span, each counter's last before it, and when the first look was."""
        table = engine_counts.c
        which = [table.start < end, *([] if endpoint is None else [table.endpoint == endpoint])]
        life = (table.endpoint, table.series, table.life)
        before = select(*life, func.max(table.start)).where(*which, table.start < start).group_by(*life)
        rows = select(engine_counts).where(
            *which, or_(table.start >= start, tuple_(*life, table.start).in_(before))
        )
        first = select(table.endpoint, func.min(table.first_at)).where(*which).group_by(table.endpoint)
        async with snapshot(self._database, PATIENCE) as connection:
            seen = {name: Seen(since, []) for name, since in await connection.execute(first)}
            for name, *row in await connection.execute(rows):
                seen[name].rows.append(Kept(*row))
        return seen

    async def _span(self, start: int, end: int, endpoint: str | None, seen: dict[str, Seen]) -> list[Balance]:
        which = UsageFilter(endpoint=endpoint, start=start, end=end)
        booked = {row["endpoint"]: row for row in await self._reports.summary(which, ["endpoint"])}
        found = []
        for name in sorted({*seen, *(name for name in booked if name is not None)}):
            known = seen.get(name, Seen(0.0, []))
            grown = growth(known.rows, known.since, start, end)
            found.append(await self._balance(name, start, end, grown, booked.get(name, _NOTHING)))
        return found

    async def _balance(
        self, endpoint: str, start: int, end: int, grown: Growth | None, booked: Mapping[str, int]
    ) -> Balance:
        since = float(start) if grown is None else grown.since
        if since > start:
            booked = (await self._reports.summary(UsageFilter(endpoint=endpoint, start=since, end=end)))[0]
        slack = (0, 0) if grown is None else await self._under_way(endpoint, grown.blind)
        return Balance(
            endpoint=endpoint,
            start=since,
            end=float(end),
            engine_prompt_tokens=None if grown is None else grown.prompt,
            prompt_tokens=booked["prompt_tokens"],
            prompt_tolerance=slack[0],
            engine_completion_tokens=None if grown is None else grown.completion,
            completion_tokens=booked["completion_tokens"],
            completion_tolerance=slack[1],
            wasted_tokens=booked["wasted_tokens"],
            restarts=0 if grown is None else grown.restarts,
        )

    async def _under_way(self, endpoint: str, spans: Sequence[tuple[float, float]]) -> tuple[int, int]:
        ended_at = usage.c.started_at + func.coalesce(usage.c.elapsed_s, 0.0)
        sums = (func.coalesce(func.sum(usage.c[name]), 0) for name in ("prompt_tokens", "completion_tokens"))
        alive = [
            and_(usage.c.started_at >= begin - LONGEST, usage.c.started_at < end, ended_at >= begin)
            for begin, end in spans
        ]
        query = select(*sums).where(usage.c.endpoint == endpoint, or_(*alive))
        async with self._database.read(PATIENCE) as connection:
            prompt, completion = (await connection.execute(query)).one()
        return int(prompt), int(completion)
