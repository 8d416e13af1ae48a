"""The book of calls: one commit for many, nothing dropped, nothing twice."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.core.errors import StorageUnavailable
from app.core.outcome import Outcome, Settlement, Usage
from app.tenancy.calendar import Calendar
from app.tenancy.commit import Commit
from app.tenancy.entry import Entries
from app.tenancy.ledger import LedgerOptions, StoreLedger
from app.tenancy.pricing import Pricing
from tests.clock import FakeClock, settle
from tests.fakes import make_call

DONE = Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop")


class Rows:
    """Stands in for the store: remembers every write; may be down, or held."""

    def __init__(self):
        self.writes = []
        self.down = None
        self.gate = None
        self.closed = False

    async def write(self, rows):
        if self.gate is not None:
            await self.gate.wait()
        if self.down is not None:
            raise self.down
        self.writes.append(list(rows))

    async def aclose(self):
        self.closed = True


class Bench:
    def __init__(self, **options):
        self.clock = FakeClock()
        self.rows = Rows()
        self.commits = []
        entries = Entries(Pricing(), Calendar(), "host:1:aa")
        self.ledger = StoreLedger(
            self.rows,
            entries,
            self.clock,
            LedgerOptions(**options),
            lambda rows, seconds: self.commits.append((rows, seconds)),
        )
        self.ledger.start()


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    bench.rows.down, bench.rows.gate = None, None
    closing = asyncio.create_task(bench.ledger.aclose())
    await bench.clock.run(1)
    await closing


def states(bench):
    return [[(row.call_id, row.state) for row in write] for write in bench.rows.writes]


async def test_a_call_is_opened_then_settled(bench):
    call = make_call(id="a")
    bench.ledger.open(call)
    await settle()
    await bench.clock.run(0.01)
    await bench.ledger.settle(call, DONE)
    assert states(bench) == [[("a", "open")], [("a", "settled")]]
    assert bench.commits == [(1, 0.0), (1, 0.0)]
    assert bench.ledger.pending == 0


async def test_a_call_that_ends_before_its_open_row_was_written_is_one_row(bench):
    call = make_call(id="a")
    bench.ledger.open(call)
    await bench.ledger.settle(call, DONE)
    assert states(bench) == [[("a", "settled")]]


async def test_the_first_end_counts_and_an_open_row_never_replaces_it(bench):
    call = make_call(id="a")
    ended = bench.ledger.settle(call, Settlement(Outcome.FAILURE, billed=False))
    bench.ledger.settle(call, DONE)
    bench.ledger.open(call)
    await ended
    assert states(bench) == [[("a", "void")]]


class Reading:
    """Stands in for the reader of a stream."""

    usage_source = "upstream"

    def __init__(self, completion):
        self.usage = Usage(9, completion)


async def test_a_growing_call_is_written_again_once_a_second(bench):
    call = make_call(id="a")
    bench.ledger.open(call)
    await bench.clock.run(0.9)
    call.metered = Reading(4)
    await bench.clock.run(0.5)
    call.metered = Reading(5)
    await bench.clock.run(0.5)
    call.metered = Reading(6)
    await bench.clock.run(2)
    rows = [(row.state, row.usage_source, row.completion_tokens) for [row] in bench.rows.writes]
    assert rows == [("open", "estimated", 0), ("open", "upstream", 4), ("open", "upstream", 6)]
    await bench.ledger.settle(call, DONE)
    call.metered = Reading(7)
    await bench.clock.run(2)
    assert states(bench)[3:] == [[("a", "settled")]]


async def test_a_checkpoint_never_takes_the_place_of_an_end_that_waits(bench):
    call = make_call(id="a", metered=Reading(4))
    bench.ledger.open(call)
    await settle()
    bench.rows.gate = asyncio.Event()
    bench.ledger.open(make_call(id="b"))
    await bench.clock.run(0.5)
    bench.ledger.settle(call, DONE)
    await bench.clock.run(3)
    bench.rows.gate.set()
    await bench.clock.run(1)
    assert states(bench) == [[("a", "open")], [("b", "open")], [("a", "settled")]]


async def test_a_reading_that_fails_keeps_no_other_from_being_written(bench, caplog):
    class Broken:
        @property
        def usage(self):
            raise RuntimeError("a bug")

    broken, sound = make_call(id="a", metered=Broken()), make_call(id="b", metered=Reading(4))
    bench.ledger.open(broken)
    bench.ledger.open(sound)
    await bench.clock.run(2)
    assert "a checkpoint failed" in caplog.text
    assert states(bench)[1] == [("b", "open")]


async def test_many_ends_are_one_commit(bench):
    ends = [bench.ledger.settle(make_call(id=str(n)), DONE) for n in range(100)]
    assert len({id(end) for end in ends}) == 1
    await asyncio.gather(*ends)
    assert [len(write) for write in bench.rows.writes] == [100]


async def test_a_large_backlog_is_written_in_pieces():
    bench = Bench(batch=40)
    end = None
    for n in range(100):
        end = bench.ledger.settle(make_call(id=str(n)), DONE)
    await end
    assert [len(write) for write in bench.rows.writes] == [40, 40, 20]
    await bench.ledger.aclose()


@pytest.mark.parametrize(("rows", "pace"), [(1, 0.0025), (2, 0.005), (4, 0.01), (100, 0.01)])
async def test_commits_keep_their_pace_under_load_and_a_lone_caller_waits_less(bench, rows, pace):
    await asyncio.gather(*[bench.ledger.settle(make_call(id=str(n)), DONE) for n in range(rows)])
    second = asyncio.ensure_future(anext_of(bench.ledger.settle(make_call(), DONE)))
    await bench.clock.run(0.9 * pace)
    assert len(bench.rows.writes) == 1
    await bench.clock.run(0.2 * pace)
    await second
    assert len(bench.rows.writes) == 2


async def anext_of(awaitable):
    return await awaitable


async def test_an_end_that_is_not_durable_in_time_fails_and_is_written_later(bench, caplog):
    bench.rows.down = StorageUnavailable()
    call = make_call(id="a")
    waiting = asyncio.create_task(anext_of(bench.ledger.settle(call, DONE)))
    with caplog.at_level(logging.WARNING):
        await bench.clock.run(1.99)
        assert not waiting.done()
        await bench.clock.run(0.02)
        with pytest.raises(StorageUnavailable):
            await waiting
        assert bench.ledger.overdue
        assert bench.ledger.pending == 1
        bench.rows.down = None
        await bench.clock.run(0.3)
    assert not bench.ledger.overdue
    assert states(bench) == [[("a", "settled")]]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the ledger cannot be written",
        "the ledger is late",
        "the ledger is written again",
        "the ledger is in time again",
    ]


async def test_the_ledger_is_overdue_while_an_end_is_late(bench):
    assert not bench.ledger.overdue
    bench.rows.down = StorageUnavailable()
    bench.ledger.settle(make_call(), DONE)
    await bench.clock.run(2.1)
    assert bench.ledger.overdue
    bench.rows.down = None
    await bench.clock.run(0.3)
    assert not bench.ledger.overdue


async def test_calls_that_end_while_the_store_is_away_wait_for_their_own_time(bench):
    bench.rows.down = StorageUnavailable()
    first = asyncio.create_task(anext_of(bench.ledger.settle(make_call(id="a"), DONE)))
    await bench.clock.run(1.5)
    second = asyncio.create_task(anext_of(bench.ledger.settle(make_call(id="b"), DONE)))
    await bench.clock.run(1)
    assert first.done()
    assert not second.done()
    bench.rows.down = None
    await bench.clock.run(0.3)
    await second
    with pytest.raises(StorageUnavailable):
        await first
    assert states(bench) == [[("a", "settled")], [("b", "settled")]]


async def test_a_caller_that_leaves_takes_no_other_with_it(bench):
    bench.rows.gate = asyncio.Event()
    leaving = asyncio.create_task(anext_of(bench.ledger.settle(make_call(id="a"), DONE)))
    staying = asyncio.create_task(anext_of(bench.ledger.settle(make_call(id="b"), DONE)))
    await settle()
    leaving.cancel()
    await settle()
    bench.rows.gate.set()
    await staying
    assert leaving.cancelled()
    assert states(bench) == [[("a", "settled"), ("b", "settled")]]


async def test_dropping_the_awaitable_loses_nothing(bench):
    bench.ledger.settle(make_call(id="a"), DONE)
    await settle()
    assert states(bench) == [[("a", "settled")]]


async def test_awaiting_a_durable_end_again_returns_at_once(bench):
    end = bench.ledger.settle(make_call(), DONE)
    await end
    await end


async def test_a_bug_below_is_no_end_of_the_writer(bench):
    bench.rows.down = RuntimeError("a bug")
    end = asyncio.create_task(anext_of(bench.ledger.settle(make_call(id="a"), DONE)))
    await bench.clock.run(0.3)
    bench.rows.down = None
    await bench.clock.run(0.3)
    await end
    assert states(bench) == [[("a", "settled")]]


async def test_closing_writes_what_is_queued():
    bench = Bench()
    bench.ledger.settle(make_call(id="a"), DONE)
    await bench.ledger.aclose()
    assert states(bench) == [[("a", "settled")]]
    assert bench.rows.closed


async def test_closing_does_not_wait_for_ever_and_says_what_is_lost(caplog):
    bench = Bench(max_wait=0.01)
    bench.rows.down = StorageUnavailable()
    bench.ledger.settle(make_call(), DONE)
    with caplog.at_level(logging.ERROR):
        await bench.ledger.aclose()
    assert "closed with 1 rows not written" in caplog.text
    assert "queued=0 writing=1" in repr(bench.ledger)


async def test_a_ledger_that_was_never_started_closes():
    ledger = StoreLedger(Rows(), Entries(Pricing(), Calendar(), "g"), FakeClock())
    await ledger.aclose()


async def test_what_is_durable_is_never_late():
    commit = Commit()
    commit.done()
    commit.expire()
    await commit
    assert not commit.late
