"""The parts over a PostgreSQL that refuses, is silent or kills connections: late, but never lost or twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.errors import StorageUnavailable
from app.core.outcome import Outcome, Settlement, Usage
from app.store.database import Database, DatabaseOptions
from app.store.location import Location
from app.store.migrate import migrate
from app.store.postgres import PostgresBatch
from app.store.reports import Reports
from app.store.usage import UsageRows
from app.tenancy.calendar import Calendar
from app.tenancy.entry import Entries
from app.tenancy.ledger import LedgerOptions, StoreLedger
from app.tenancy.pricing import Pricing
from tests.fakes import make_call
from tests.outages import Proxy

pytest_plugins = ("tests.postgres",)

DONE = Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop")
OPTIONS = DatabaseOptions(timeout=0.3, connections=2)


@pytest.fixture
async def proxy(postgres_url):
    await asyncio.to_thread(migrate, postgres_url)
    proxy = await Proxy(postgres_url).start()
    yield proxy
    await proxy.aclose()


@pytest.mark.parametrize("mode", ["refusing", "silent"])
async def test_an_outage_is_short_for_each_caller_and_over_when_it_is_over(proxy, mode):
    database = Database(proxy.address, OPTIONS)
    await database.connect()
    proxy.mode = mode
    began = asyncio.get_running_loop().time()

    async def ask():
        with pytest.raises(StorageUnavailable):
            async with database.read() as connection:
                await connection.execute(text("SELECT 1"))

    await asyncio.gather(*(ask() for _ in range(5)))
    assert asyncio.get_running_loop().time() - began < 10
    proxy.mode = "open"
    async with asyncio.timeout(10):
        while True:
            with suppress(StorageUnavailable):
                async with database.read() as connection:
                    assert await connection.scalar(text("SELECT 1")) == 1
                break
    await database.aclose()


@pytest.mark.parametrize("mode", ["refusing", "silent"])
async def test_no_settled_call_is_lost_or_written_twice(proxy, mode):
    database = Database(proxy.address, OPTIONS)
    entries = Entries(Pricing(), Calendar(), "host:1:aa")
    options = LedgerOptions(max_wait=0.2, retry=0.02)
    ledger = StoreLedger(UsageRows(database), entries, SystemClock(), options)
    ledger.start()
    await ledger.settle(make_call(id="before"), DONE)
    proxy.mode = mode
    with pytest.raises(StorageUnavailable):
        await ledger.settle(make_call(id="during"), DONE)
    assert ledger.overdue
    proxy.mode = "open"
    async with asyncio.timeout(10):
        while ledger.pending:
            await asyncio.sleep(0.01)
    await ledger.settle(make_call(id="after"), DONE)
    assert not ledger.overdue
    await ledger.aclose()
    summary = await Reports(database).summary()
    assert (summary[0]["requests"], summary[0]["total_tokens"]) == (3, 30)
    await database.aclose()


async def test_a_connection_killed_by_the_server_is_replaced(postgres_url):
    await asyncio.to_thread(migrate, postgres_url)
    database = Database(postgres_url)
    batch = PostgresBatch(Location(postgres_url), DatabaseOptions())
    statement = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    await batch.run(statement, [("a", "")])
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with database.write() as connection:
        await connection.execute(kill)
    async with asyncio.timeout(10):
        while True:
            with suppress(StorageUnavailable):
                await batch.run(statement, [("b", "")])
                break
    with pytest.raises(StorageUnavailable):
        await batch.run(statement, [("c", "x\x00y")])
    with pytest.raises(TypeError):
        await batch.run(statement, 7)
    await batch.run(statement, [("d", "")])
    await batch.aclose()
    await batch.aclose()
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM meta")) == 3
    await database.aclose()
