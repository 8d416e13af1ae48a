"""PostgreSQL that refuses, is silent, or dies between commit and answer: late, but never lost or twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.errors import StorageUnavailable
from app.core.outcome import Outcome, Settlement, Usage
from app.store.batch import PostgresBatch
from app.store.database import Database, DatabaseOptions
from app.store.location import Location
from app.store.migrate import migrate
from app.store.reports import Reports
from app.store.usage import UsageRows
from app.tenancy.calendar import Calendar
from app.tenancy.entry import Entries
from app.tenancy.ledger import LedgerOptions, StoreLedger
from app.tenancy.pricing import Pricing
from tests.fakes import make_call

pytest_plugins = ("tests.postgres",)

DONE = Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop")
OPTIONS = DatabaseOptions(timeout=0.3, connections=2)


class Proxy:
    """TCP in front of the server; `mode` is open, silent (accepts, says nothing) or refusing."""

    def __init__(self, url):
        self.url, self.mode, self.connections = url, "open", set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        return f"postgresql://postgres@127.0.0.1:{port}{urlsplit(self.url).path}?sslmode=disable"

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.connections.add(task)
        with suppress(OSError, asyncio.CancelledError):
            if self.mode == "refusing":
                writer.transport.abort()
            else:
                inner_reader, inner_writer = await self.inner()
                await asyncio.wait(
                    [
                        asyncio.ensure_future(self.pump(reader, inner_writer)),
                        asyncio.ensure_future(self.pump(inner_reader, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                inner_writer.close()
            writer.close()
        self.connections.discard(task)

    async def inner(self):
        parts = urlsplit(self.url)
        folder = parse_qs(parts.query).get("host")
        if folder:
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(parts.hostname, parts.port or 5432)

    async def pump(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                while self.mode == "silent":
                    await asyncio.sleep(0.005)
                if self.mode == "refusing":
                    break
                writer.write(data)
                await writer.drain()

    async def aclose(self):
        self.mode = "refusing"
        self.server.close()
        for task in list(self.connections):
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)


@pytest.fixture
async def proxy(postgres_url):
    await asyncio.to_thread(migrate, postgres_url)
    proxy = Proxy(postgres_url)
    proxy.address = await proxy.start()
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
