"""A row is durable in the store or in the journal, and in the store in the end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.core.errors import StorageUnavailable
from app.store.journal import Held
from app.tenancy.drain import CATCH_UP, LONGEST, REST, Drain
from app.tenancy.journal import JournaledRows
from app.tenancy.storing import Storing
from tests.clock import FakeClock, settle

AFTER = 0.25


class Place:
    """A store: what it has, in order; may be down, or held."""

    def __init__(self):
        self.has, self.tries, self.down, self.gate, self.closed = [], 0, None, None, False

    async def write(self, rows):
        self.tries += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down is not None:
            raise self.down
        self.has += rows

    async def aclose(self):
        self.closed = True


class FakeJournal(Place):
    """Batches of rows; `forgetful` False: what was carried over is not deleted."""

    forgetful = True

    @property
    def backlog(self):
        return len(self.has)

    async def oldest(self, most):
        return Held(len(self.has[:most]), self.has[:most]) if self.has else None

    async def forget(self, held):
        if not self.forgetful:
            raise StorageUnavailable
        del self.has[: held.last]


class Bench:
    def __init__(self, *, straight=True, batch=500):
        self.clock, self.store, self.journal = FakeClock(), Place(), FakeJournal()
        self.storing = Storing(self.store, self.clock, AFTER)
        self.drain = Drain(self.journal, self.storing, self.clock, batch=batch, retry=0.25)
        self.rows = JournaledRows(self.storing, self.journal, self.drain, self.clock, straight=straight)

    async def closed(self):
        self.store.down = None
        if self.store.gate is not None:
            self.store.gate.set()
        closing = asyncio.create_task(self.rows.aclose())
        await self.clock.run(5)
        await closing


@pytest.fixture
async def bench():
    bench = Bench()
    await bench.drain.start()
    yield bench
    await bench.closed()


async def written(rows, *names):
    await rows.write(list(names))
    return True


def writing(bench, *names):
    return asyncio.create_task(written(bench.rows, *names))


async def test_a_prompt_store_takes_rows_alone(bench):
    await bench.rows.write(["a"])
    assert (bench.store.has, bench.journal.tries) == (["a"], 0)


async def test_a_store_that_fails_leaves_the_rows_to_the_journal(bench, caplog):
    bench.store.down = StorageUnavailable()
    with caplog.at_level(logging.WARNING):
        await bench.rows.write(["a"])
    assert (bench.journal.has, bench.storing.prompt) == (["a"], False)
    assert "the store does not take usage rows" in caplog.text


async def test_a_slow_store_is_waited_for_a_quarter_of_a_second(bench):
    bench.store.gate = asyncio.Event()
    first = writing(bench, "a")
    await bench.clock.run(AFTER - 0.01)
    assert not first.done()
    assert bench.journal.tries == 0
    await bench.clock.run(0.02)
    assert await first
    assert bench.journal.has == ["a"]


async def test_while_the_store_is_away_nobody_waits_for_it(bench):
    bench.store.down = StorageUnavailable()
    await bench.rows.write(["a"])
    tries = bench.store.tries
    bench.store.gate = asyncio.Event()
    assert await asyncio.wait_for(writing(bench, "b"), 1)
    assert bench.store.tries == tries
    assert bench.journal.has == ["a", "b"]


async def test_whichever_has_the_rows_first_is_enough(bench):
    bench.store.gate, bench.journal.gate = asyncio.Event(), asyncio.Event()
    first = writing(bench, "a")
    await bench.clock.run(AFTER + 0.1)
    assert not first.done()
    bench.store.gate.set()
    assert await first
    bench.journal.gate.set()
    await bench.clock.run(1)
    assert set(bench.store.has) == {"a"}


async def test_when_both_fail_the_writer_hears_it(bench):
    bench.store.down = bench.journal.down = StorageUnavailable()
    with pytest.raises(StorageUnavailable):
        await bench.rows.write(["a"])


async def test_a_late_store_may_still_save_what_the_journal_refused(bench):
    bench.store.gate, bench.journal.down = asyncio.Event(), StorageUnavailable()
    first = writing(bench, "a")
    await bench.clock.run(AFTER + 1)
    assert not first.done()
    bench.store.gate.set()
    assert await first
    assert bench.store.has == ["a"]


async def test_a_store_in_doubt_is_asked_when_the_journal_refuses(bench):
    bench.storing.doubt("a test")
    bench.journal.down = StorageUnavailable()
    await bench.rows.write(["a"])
    assert (bench.store.has, bench.storing.prompt) == (["a"], True)


async def test_the_journal_drains_when_the_store_is_back_and_rows_go_there_straight_again(bench, caplog):
    bench.store.down = StorageUnavailable()
    for name in "abc":
        await bench.rows.write([name])
    bench.store.down = None
    with caplog.at_level(logging.WARNING):
        await bench.clock.run(LONGEST)
    assert (bench.store.has, bench.journal.has) == (["a", "b", "c"], [])
    assert "the store takes usage rows again" in caplog.text
    await bench.rows.write(["d"])
    assert (bench.store.has[-1], bench.journal.has) == ("d", [])


async def test_a_store_that_is_back_but_slow_drains_the_journal_and_gets_no_rows_straight(bench):
    bench.storing.doubt("a test")
    bench.store.gate = asyncio.Event()
    await bench.rows.write(["a"])
    await bench.clock.run(AFTER + 0.1)
    bench.store.gate.set()
    await settle()
    assert (bench.store.has, bench.journal.has, bench.storing.prompt) == (["a"], [], False)


async def test_attempts_at_a_dead_store_become_rare(bench):
    bench.store.down = StorageUnavailable()
    await bench.rows.write(["a"])
    await bench.clock.run(60)
    assert 60 / LONGEST < bench.store.tries < 60 / LONGEST * 2 + 10


async def test_what_could_not_be_forgotten_is_sent_again(bench):
    bench.storing.doubt("a test")
    bench.journal.forgetful = False
    await bench.rows.write(["a"])
    await bench.clock.run(1)
    assert set(bench.store.has) == {"a"}
    assert len(bench.store.has) > 1
    bench.journal.forgetful = True
    await bench.clock.run(LONGEST)
    assert bench.journal.has == []


async def test_a_large_backlog_goes_over_in_pieces_without_a_pause():
    bench = Bench(batch=2)
    await bench.drain.start()
    bench.journal.has = list("abcdef")
    bench.drain.wake()
    await bench.clock.run(REST / 2)
    assert (bench.store.has, bench.store.tries, bench.journal.has) == (list("abcdef"), 3, [])
    await bench.closed()


async def test_a_bug_below_is_no_end_of_the_drain(bench, caplog):
    bench.storing.doubt("a test")
    bench.store.down = RuntimeError("a bug")
    await bench.rows.write(["a"])
    await bench.clock.run(5)
    assert caplog.text.count("draining the journal failed") == 1
    bench.store.down = None
    await bench.clock.run(LONGEST)
    assert bench.store.has == ["a"]


async def test_with_the_journal_first_the_store_follows():
    bench = Bench(straight=False)
    await bench.drain.start()
    bench.store.gate = asyncio.Event()
    assert await asyncio.wait_for(writing(bench, "a"), 1)
    assert (bench.journal.has, bench.store.has) == (["a"], [])
    bench.store.gate.set()
    await bench.clock.run(REST)
    assert (bench.journal.has, bench.store.has) == ([], ["a"])
    await bench.closed()


async def test_what_an_older_process_left_is_over_before_the_start_is():
    bench = Bench(batch=2)
    bench.journal.has = list("abc")
    await bench.drain.start()
    assert (bench.store.has, bench.journal.has) == (list("abc"), [])
    await bench.closed()


async def test_a_store_that_is_away_does_not_hold_up_the_start():
    bench = Bench()
    bench.journal.has, bench.store.down = ["a"], StorageUnavailable()
    await bench.drain.start()
    bench.store.down = None
    await bench.clock.run(REST)
    assert bench.store.has == ["a"]
    await bench.closed()


async def test_a_bug_below_does_not_hold_up_the_start(caplog):
    bench = Bench()
    bench.journal.has, bench.store.down = ["a"], RuntimeError("a bug")
    await bench.drain.start()
    assert "draining the journal failed" in caplog.text
    await bench.closed()


async def test_a_large_backlog_does_not_hold_up_the_start_for_long():
    bench = Bench(batch=1)
    bench.journal.has = list("abcdef")
    write = bench.store.write

    async def slow(rows):
        await write(rows)
        bench.clock.advance(CATCH_UP / 2)

    bench.store.write = slow
    await bench.drain.start()
    assert bench.store.has == ["a", "b"]
    bench.store.write = write
    await bench.clock.run(1)
    assert bench.journal.has == []
    await bench.closed()


async def test_closing_drains_what_it_can_and_says_what_stays(caplog):
    bench = Bench()
    await bench.drain.start()
    bench.store.down = StorageUnavailable()
    await bench.rows.write(["a"])
    with caplog.at_level(logging.WARNING):
        await bench.rows.aclose()
    assert "1 usage rows stay in the journal" in caplog.text
    assert (bench.store.closed, bench.journal.closed) == (True, True)


async def test_closing_waits_for_what_is_under_way(bench):
    bench.store.gate = asyncio.Event()
    first = writing(bench, "a")
    await bench.clock.run(AFTER + 0.1)
    await first
    closing = asyncio.create_task(bench.rows.aclose())
    await settle()
    assert not bench.store.closed
    bench.store.gate.set()
    await closing
    assert (set(bench.store.has), bench.journal.has) == ({"a"}, [])


async def test_closing_without_a_start(caplog):
    bench = Bench()
    await bench.rows.aclose()
    assert (bench.store.closed, caplog.text) == (True, "")
