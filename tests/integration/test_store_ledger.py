"""The ledger over a real SQLite file: what callers were told is what is written."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys

import pytest

from app.core.clock import SystemClock
from app.core.errors import StorageUnavailable
from app.core.outcome import Outcome, Settlement, Usage
from app.store.database import Database, DatabaseOptions
from app.store.migrate import migrate
from app.store.orphans import Orphans, gateway_id
from app.store.reports import Reports
from app.store.usage import UsageRows
from app.tenancy.calendar import Calendar
from app.tenancy.entry import Entries
from app.tenancy.ledger import LedgerOptions, StoreLedger
from app.tenancy.pricing import Pricing
from tests.fakes import make_call

DONE = Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop")
GONE = Settlement(Outcome.IGNORED, Usage(7, 1), "counted", 499, finish="hang_up")
FAILED = Settlement(Outcome.FAILURE, status=502, error_code="upstream_error", billed=False)


@pytest.fixture
async def database(tmp_path):
    url = f"sqlite:///{tmp_path}/sluice.db"
    await asyncio.to_thread(migrate, url)
    database = Database(url, DatabaseOptions(lock=0.05))
    yield database
    await database.aclose()


def ledger_over(database, **options):
    entries = Entries(Pricing(), Calendar(), gateway_id())
    ledger = StoreLedger(UsageRows(database), entries, SystemClock(), LedgerOptions(**options))
    ledger.start()
    return ledger


async def test_every_end_is_one_row_whatever_the_end(database):
    ledger = ledger_over(database)

    async def serve(number):
        call = make_call(id=f"c{number}")
        ledger.open(call)
        await asyncio.sleep(number % 3 * 0.004)
        await ledger.settle(call, (DONE, GONE, FAILED)[number % 3])
        await ledger.settle(call, DONE)

    await asyncio.gather(*(serve(number) for number in range(300)))
    await ledger.aclose()
    row = (await Reports(database).summary())[0]
    assert (row["requests"], row["errors"], row["total_tokens"]) == (300, 100, 100 * 10 + 100 * 8)
    assert row["wasted_tokens"] == 100


async def test_a_row_is_durable_when_the_caller_hears_so(database):
    ledger = ledger_over(database)
    await ledger.settle(make_call(id="a"), DONE)
    with sqlite3.connect(database.path) as other:
        assert other.execute("SELECT state FROM usage").fetchall() == [("settled",)]
    other.close()
    await ledger.aclose()


async def test_a_locked_database_delays_the_ledger_and_not_the_loop(database):
    ledger = ledger_over(database, max_wait=0.2, retry=0.01)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    slowest, last = 0.0, asyncio.get_running_loop().time()
    waiting = asyncio.ensure_future(waited(ledger.settle(make_call(id="a"), DONE)))
    while not waiting.done():
        await asyncio.sleep(0.001)
        now = asyncio.get_running_loop().time()
        slowest, last = max(slowest, now - last), now
    with pytest.raises(StorageUnavailable):
        await waiting
    assert slowest < 0.1
    other.execute("ROLLBACK")
    other.close()
    async with asyncio.timeout(5):
        while ledger.pending:
            await asyncio.sleep(0.001)
    await ledger.aclose()
    assert (await Reports(database).call("a")).state == "settled"


async def waited(awaitable):
    await awaitable


async def test_a_full_disk_refuses_and_recovers_without_a_restart(database):
    async with database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
    rows = UsageRows(database)
    await rows.write([])
    rows._batch.thread.connection.execute(f"PRAGMA max_page_count={pages}")
    entries = Entries(Pricing(), Calendar(), "g")
    many = [entries.settled(make_call(), DONE) for _ in range(500)]
    with pytest.raises(StorageUnavailable):
        await rows.write(many)
    await rows.write(many)
    assert (await Reports(database).summary())[0]["requests"] == 500
    await rows.aclose()


async def test_a_killed_gateway_leaves_each_call_once(database, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(database.path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    acknowledged += (await process.stdout.read()).decode().split()
    await process.wait()
    keeper = Orphans(database, SystemClock(), gateway_id())
    await keeper.close()
    rows = {row.call_id: row async for row in Reports(database).export()}
    assert len(acknowledged) >= 200
    assert {rows[call].finish for call in acknowledged} == {"stop"}
    assert {row.state for row in rows.values()} == {"settled"}
    assert {row.finish for row in rows.values()} <= {"stop", "crashed"}
    check = sqlite3.connect(database.path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


CHILD = """
import asyncio, sys
from app.core.clock import SystemClock
from app.core.outcome import Outcome, Settlement, Usage
from app.store.database import Database
from app.store.orphans import gateway_id
from app.store.usage import UsageRows
from app.tenancy.calendar import Calendar
from app.tenancy.entry import Entries
from app.tenancy.ledger import StoreLedger
from app.tenancy.pricing import Pricing
from tests.fakes import make_call

async def main():
    database = Database(f"sqlite:///{sys.argv[1]}")
    ledger = StoreLedger(UsageRows(database), Entries(Pricing(), Calendar(), gateway_id()), SystemClock())
    ledger.start()

    async def lane():
        while True:
            call = make_call()
            ledger.open(call)
            await asyncio.sleep(0.008)
            await ledger.settle(call, Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop"))
            print(call.id, flush=True)

    await asyncio.gather(*(lane() for _ in range(20)))

asyncio.run(main())
"""
