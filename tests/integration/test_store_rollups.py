"""Sums over rolled-up calls are those over the calls, at every moment, whatever comes late."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update

from app.store import rollups as rolling
from app.store.reports import UsageFilter
from app.store.rollups import Rollups
from app.store.spent import spent
from app.store.sums import DAY, GROUPS, QUARTER, SUMS, TABLES
from app.store.tables import counters, usage, usage_late
from app.store.usage import UsageRow
from app.tenancy.calendar import Calendar
from tests.stores import opened, usage_row

pytest_plugins = ("tests.postgres",)

T = 1_795_000_000.0
CALENDARS = (Calendar(), Calendar("Europe/Berlin"), Calendar("Asia/Kathmandu"))


def brute(rows, which: UsageFilter, groups):
    """The same, by hand; pruned calls count at the beginning of their quarter and end where it ends."""
    found: dict[tuple, list] = {}
    for row, pruned in rows:
        begins, ends = row.started_at, row.started_at
        if pruned:
            begins = row.started_at // QUARTER * QUARTER
            ends = begins + QUARTER
        if row.state == "open" or (which.start is not None and begins < which.start):
            continue
        if which.end is not None and (ends > which.end if pruned else ends >= which.end):
            continue
        names = ("tenant_id", "key_id", "model", "endpoint", "surface", "state")
        if any(getattr(which, n) is not None and getattr(row, n) != getattr(which, n) for n in names):
            continue
        sums = found.setdefault(tuple(_group(row, name) for name in groups), [0] * 9)
        failed = row.status != 499 and (row.error_code is not None or (row.status or 0) >= 400)
        counts = [1, int(failed), *(getattr(row, name) for name in SUMS[2:-1])]
        counts += [row.prompt_tokens + row.completion_tokens, row.cost]
        found[*(_group(row, name) for name in groups),] = [a + b for a, b in zip(sums, counts, strict=True)]
    return found if groups else {(): found.get((), [0] * 9)}


def _group(row, name):
    if name in ("hour", "day", "month"):
        return row.hour[: {"hour": 25, "day": 10, "month": 7}[name]]
    return getattr(row, GROUPS[name])


def same(rows, expected, groups):
    got = {tuple(row[GROUPS[name]] for name in groups): row for row in rows}
    assert len(got) == len(rows)
    assert set(got) == set(expected)
    for key, counts in expected.items():
        assert [got[key][name] for name in (*SUMS[:-1], "total_tokens")] == counts[:-1]
        assert math.isclose(got[key]["cost"], counts[-1], abs_tol=1e-9)


tokens = st.integers(0, 1000)
moments = st.one_of(
    st.integers(0, 3 * DAY).map(lambda s: T + s),
    st.integers(0, 3 * DAY // QUARTER).map(lambda n: T // QUARTER * QUARTER + n * QUARTER),
    st.floats(0, 3 * DAY).map(lambda s: T + s),
)
some_row = st.builds(
    dict,
    started_at=moments,
    calendar=st.sampled_from(CALENDARS),
    tenant_id=st.sampled_from("ab"),
    key_id=st.sampled_from("kl"),
    model=st.sampled_from("mn"),
    endpoint=st.sampled_from(["gpu-a", "gpu-b", None]),
    surface=st.sampled_from(["chat", "embeddings"]),
    state=st.sampled_from(["open", "settled", "settled", "void"]),
    status=st.sampled_from([200, 200, 499, 502, None]),
    error_code=st.sampled_from([None, None, "upstream_error"]),
    prompt_tokens=tokens,
    completion_tokens=tokens,
    wasted_tokens=tokens,
    cost=st.sampled_from([0.0, 0.25, 1.5]),
)
steps = st.one_of(
    st.tuples(st.just("write"), st.lists(some_row, max_size=4)),
    st.tuples(st.just("end"), st.integers(0, 30)),
    st.tuples(st.just("crash"), st.integers(0, 30)),
    st.tuples(st.just("roll"), moments),
    st.tuples(st.just("interrupt"), moments),
    st.tuples(st.just("prune"), moments),
)
filters = st.builds(
    UsageFilter,
    start=st.none() | moments,
    end=st.none() | moments,
    tenant_id=st.sampled_from([None, None, "a"]),
    model=st.sampled_from([None, None, "m"]),
    endpoint=st.sampled_from([None, None, "gpu-a"]),
    state=st.sampled_from([None, None, "settled", "void", "open"]),
)
groupings = st.lists(st.sampled_from(list(GROUPS)), max_size=3, unique=True)


class Book:
    """A store and what should be in it: each call's row, and whether it was pruned."""

    def __init__(self, stores):
        self.stores = stores
        self.rollups = Rollups(stores.database)
        self.rows: dict[str, UsageRow] = {}
        self.pruned: set[str] = set()

    async def do(self, what, how):
        await getattr(self, what)(how)

    async def write(self, rows):
        made = []
        for fields in rows:
            fields = dict(fields)
            calendar = fields.pop("calendar")
            call = f"c{len(self.rows):04}"
            made.append(usage_row(call, hour=calendar.hour(fields["started_at"]), **fields))
            self.rows[call] = made[-1]
        if made:
            await self.stores.rows.write(made)

    async def end(self, number):
        """An end for an open call, or for one that was guessed to have crashed."""
        call = self._some(number, lambda row: row.state == "open" or row.finish == "crashed")
        if call is not None:
            ended = self.rows[call]._replace(
                state="settled", finish="stop", completion_tokens=number, endpoint="gpu-b", cost=2.0
            )
            self.rows[call] = ended
            await self.stores.rows.write([ended])

    async def crash(self, number):
        call = self._some(number, lambda row: row.state == "open")
        if call is not None:
            self.rows[call] = self.rows[call]._replace(state="settled", finish="crashed")
            async with self.stores.database.write() as connection:
                crashed = update(usage).where(usage.c.call_id == call)
                await connection.execute(crashed.values(state="settled", finish="crashed"))

    async def roll(self, until):
        await self.rollups.reach(until)

    async def interrupt(self, until):
        """A gateway dies between noting and taking in."""
        rolled, begun = await self.rollups._marks()
        if rolled == begun:
            begun = await self.rollups._next(rolled, until)
            async with self.stores.database.write() as connection:
                if begun > rolled:
                    assert await rolling._moved(connection, "rolling", rolled, begun)

    async def prune(self, before):
        before -= 2 * DAY
        gone = {
            call
            for call, row in self.rows.items()
            if row.state != "open" and row.started_at < before and call not in self.pruned
        }
        assert await self.stores.reports.prune(before) == len(gone)
        self.pruned |= gone

    def _some(self, number, fits):
        calls = [call for call, row in self.rows.items() if fits(row) and call not in self.pruned]
        return calls[number % len(calls)] if calls else None

    async def check(self, which, groups):
        known = [(row, call in self.pruned) for call, row in self.rows.items()]
        if which.end is not None and which.start is not None and which.end < which.start:
            return
        expected = brute(known, which, groups)
        same(await self.stores.reports.summary(which, groups), expected, groups)

    async def clear(self):
        self.rows.clear()
        self.pruned.clear()
        async with self.stores.database.write() as connection:
            for table in (usage, *TABLES.values(), usage_late):
                await connection.execute(delete(table))
            await connection.execute(
                update(counters).where(counters.c.name.in_(["rolled", "rolling"])).values(value=0)
            )


@pytest.fixture
def portions(monkeypatch):
    monkeypatch.setattr(rolling, "PORTION", 3)
    monkeypatch.setattr(rolling, "_LATE", 2)
    monkeypatch.setattr("app.store.reports._PRUNED", 3)


def test_sums_are_those_of_the_calls_at_every_moment(store_url, portions):
    examples = 60 if store_url.startswith("sqlite") else 20
    with asyncio.Runner() as runner:
        manager = opened(store_url)
        book = Book(runner.run(manager.__aenter__()))

        @settings(
            max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(st.lists(steps, min_size=1, max_size=12), st.lists(st.tuples(filters, groupings), max_size=4))
        def agrees(history, questions):
            async def story():
                await book.clear()
                for what, how in history:
                    await book.do(what, how)
                    await book.check(UsageFilter(), ["day", "tenant"])
                for which, groups in questions:
                    await book.check(which, groups)

            runner.run(story())

        agrees()
        runner.run(manager.__aexit__(None, None, None))


async def test_gateways_that_write_and_roll_at_once_lose_and_double_nothing(store_url, monkeypatch):
    monkeypatch.setattr(rolling, "PORTION", 40)
    monkeypatch.setattr(rolling, "_LATE", 30)
    written = 0

    async def write(stores, name):
        nonlocal written
        for turn in range(25):
            moments = [T + (turn * 37 + n * 211) % 4000 for n in range(20)]
            rows = [
                usage_row(
                    f"{name}-{turn}-{n}", started_at=moment, hour=CALENDARS[0].hour(moment), tenant_id=name
                )
                for n, moment in enumerate(moments)
            ]
            await stores.rows.write([row._replace(state="open") for row in rows[::2]])
            await stores.rows.write(rows)
            written += len(rows)

    async def roll(stores, done):
        rollups, until = Rollups(stores.database), T
        while not done.is_set():
            until += 150
            await rollups.roll(until)

    async with opened(store_url) as one, opened(store_url, migrated=False) as two:
        done = asyncio.Event()
        rolls = [asyncio.create_task(roll(stores, done)) for stores in (one, two)]
        await asyncio.gather(write(one, "a"), write(two, "b"))
        done.set()
        await asyncio.gather(*rolls)
        for _ in range(2):
            (whole,) = await two.reports.summary()
            assert (whole["requests"], whole["total_tokens"]) == (written, 30 * written) == (1000, 30_000)
            assert [row["requests"] for row in await one.reports.summary(group_by=["tenant"])] == [500, 500]
            await asyncio.gather(Rollups(one.database).reach(T + 5000), Rollups(two.database).reach(T + 5000))


async def test_a_release_that_knows_of_no_sums_keeps_them_right(store_url):
    """It writes rows and prunes them, as this release does without the sums."""
    async with opened(store_url) as stores:
        await Rollups(stores.database).reach(T + QUARTER)
        await stores.rows.write(
            [usage_row("a"), usage_row("b", state="open"), usage_row("c", finish="crashed")]
        )
        await stores.rows.write([usage_row("b", completion_tokens=5), usage_row("c", completion_tokens=7)])
        async with stores.database.write() as connection:
            await connection.execute(delete(usage).where(usage.c.call_id == "a"))
        (row,) = await stores.reports.summary()
        assert (row["requests"], row["completion_tokens"]) == (3, 32)


async def test_sums_of_pruned_calls_stay_and_their_rows_do_not(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a", started_at=T), usage_row("b", started_at=T + DAY)])
        assert await stores.reports.prune(T + 1) == 1
        assert [row.call_id for row in (await stores.reports.page()).rows] == ["b"]
        assert (await stores.reports.summary())[0]["requests"] == 2
        assert len(await spent(stores.database, T - DAY, T - DAY)) == 1
        assert (await stores.reports.summary(UsageFilter(start=T + QUARTER)))[0]["requests"] == 1


async def test_pruning_what_is_to_come_leaves_the_marks_in_the_present(store_url):
    async with opened(store_url) as stores:
        assert await stores.reports.prune(T * 2) == 0
        await stores.rows.write([usage_row("a", started_at=T)])
        assert await stores.reports.prune(T * 2) == 1
        assert await Rollups(stores.database)._marks() == (T + 1, T + 1)


async def test_what_came_late_is_added_and_forgotten(store_url):
    async with opened(store_url) as stores:
        rollups = Rollups(stores.database)
        await rollups.reach(T + QUARTER)
        await stores.rows.write([usage_row("a"), usage_row("b")])
        assert await count(stores, usage_late) == 2
        await rollups.reach(T)
        assert await count(stores, usage_late) == 0
        assert [await count(stores, table) for table in TABLES.values()] == [1, 1, 1]
        assert (await stores.reports.summary(group_by=["month"]))[0]["requests"] == 2


async def count(stores, table):
    async with stores.database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(table))


async def test_a_transaction_that_began_before_the_mark_moved_is_in_the_sums(postgres_url):
    async with opened(postgres_url) as stores, opened(postgres_url, migrated=False) as others:
        row = usage_row("slow", started_at=T - 10)
        async with others.database.write() as connection:
            await connection.execute(insert(usage).values(**row._asdict()))
            rolls = asyncio.create_task(Rollups(stores.database).reach(T))
            async with asyncio.timeout(10):
                while (await Rollups(stores.database)._marks())[1] < T:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert not rolls.done()
        await rolls
        assert (await stores.reports.summary())[0]["requests"] == 1
        assert await count(stores, TABLES[DAY]) == 1


async def test_what_changes_while_a_portion_is_taken_in_counts_once(store_url):
    async with opened(store_url) as stores:
        book = Book(stores)
        await stores.rows.write([usage_row("a", started_at=T - 10)])
        await book.interrupt(T)
        await stores.rows.write([usage_row("b", started_at=T - 20)])
        for _ in range(2):
            assert (await stores.reports.summary())[0]["requests"] == 2
            await book.rollups.reach(T)
        assert await count(stores, usage_late) == 0
