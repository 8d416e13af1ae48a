"""A gateway whose SQLite file is locked, gone or full: the journal takes the rows, or new calls are refused."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import asynccontextmanager

from app.simulator import Simulator
from tests.house import running, until
from tests.outages import Traffic, assert_every_call_is_booked_once

QUICK = {"ttft": 0.002, "itl": 0.001}
LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@asynccontextmanager
async def locked(path, seconds):
    """Another process holds the write lock."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOCKER, str(path), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"locked\n"
    try:
        yield
    finally:
        await process.wait()


async def test_a_file_that_another_process_locks_for_three_seconds_delays_nobody():
    async with running([Simulator(**QUICK)]) as gateway:
        storage = gateway.house.storage
        traffic = Traffic(gateway)
        await traffic.answered(30)
        async with locked(storage.database.path, 3):
            await traffic.answered(60)
            await until(lambda: storage.journal.backlog)
            assert not storage.store_up
            assert not gateway.house.unready()
        await until(lambda: storage.store_up and not storage.journal.backlog)
        await traffic.end()
        assert set(traffic.statuses) == {200}
        assert traffic.slowest < 2
        await assert_every_call_is_booked_once(gateway)


async def test_s09_rows_never_go_into_a_file_that_was_deleted():
    async with running([Simulator(**QUICK)]) as gateway:
        storage = gateway.house.storage
        path = storage.database.path
        traffic = Traffic(gateway)
        await traffic.answered(30)
        path.rename(path.with_suffix(".aside"))
        await traffic.answered(60)
        await until(lambda: not storage.store_up and storage.journal.backlog)
        path.with_suffix(".aside").rename(path)
        await until(lambda: storage.store_up and not storage.journal.backlog)
        await traffic.end()
        assert set(traffic.statuses) == {200}
        await assert_every_call_is_booked_once(gateway)


async def test_s09_with_neither_file_nor_journal_new_work_is_refused_and_nothing_is_lost():
    quick = {"max_wait": 0.3}
    async with running([Simulator(**QUICK)], ledger=quick) as gateway:
        storage = gateway.house.storage
        folder = storage.database.path.parent
        assert (await gateway.ask("hello")).status_code == 200
        shutil.move(folder, f"{folder}-aside")
        stream = await gateway.ask("9 tokens", stream=True)
        assert stream.status_code == 200
        assert '"code":"storage_unavailable"' in stream.text
        assert "[DONE]" not in stream.text
        refused = await gateway.ask("hello")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
        ready = await gateway.client.get("/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["usage cannot be recorded"])
        shutil.move(f"{folder}-aside", folder)
        await until(lambda: not gateway.house.unready())
        assert (await gateway.ask("hello")).status_code == 200
        await assert_every_call_is_booked_once(gateway)


async def test_s08_a_full_disk_refuses_new_work_and_loses_nothing():
    """Pages are what either file may still take."""
    async with running([Simulator(**QUICK)], ledger={"max_wait": 0.3}) as gateway:
        storage = gateway.house.storage
        await gateway.ask("hello")
        await shrink(storage.journal._thread)
        await shrink(storage.storing._store._batch.thread)
        traffic = Traffic(gateway)
        await until(lambda: gateway.house.unready() == ["the journal is full"])
        await until(lambda: traffic.statuses[503])
        await shrink(storage.storing._store._batch.thread, pages=1_000_000)
        await until(lambda: not gateway.house.unready() and storage.store_up)
        await traffic.answered(30)
        await traffic.end()
        assert traffic.statuses.keys() - {"cut"} == {200, 503}
        await assert_every_call_is_booked_once(gateway)


async def shrink(thread, pages=1):
    """No more pages than there are, for this connection and those after it."""
    prepare = thread._prepare

    def limited(connection):
        prepare(connection)
        connection.execute(f"PRAGMA max_page_count={pages}")

    thread._prepare = limited
    await thread.run(limited)
