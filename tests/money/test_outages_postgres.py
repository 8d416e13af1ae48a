"""A gateway whose PostgreSQL is away, slow, read-only or cuts connections: calls go on, every row arrives once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile

import asyncpg
import pytest

from app.simulator import Simulator
from app.store.migrate import migrate
from tests.house import running, until
from tests.outages import SECRET, Proxy, Server, Traffic, assert_every_call_is_booked_once

pytest_plugins = ("tests.postgres",)

QUICK = {"ttft": 0.002, "itl": 0.001}


@pytest.fixture
async def proxy(postgres_url):
    await asyncio.to_thread(migrate, postgres_url)
    proxy = await Proxy(postgres_url).start()
    yield proxy
    await proxy.aclose()


def gateway_over(address, **ledger):
    return running([Simulator(**QUICK)], database_url=address, secret=SECRET, ledger=ledger)


async def read_only(url, *, on):
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {on}")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def fail(proxy, how, gateway):
    if how == "read-only":
        await read_only(proxy.target, on=True)
    elif how == "slow":
        proxy.delay = 0.3
    elif how == "reset":
        proxy.fatal = gateway.tenant_id.encode()
    else:
        proxy.mode = how


async def mend(proxy):
    proxy.mode, proxy.delay, proxy.fatal = "open", 0.0, None
    await read_only(proxy.target, on=False)


@pytest.mark.parametrize("how", ["refusing", "silent", "slow", "read-only", "reset"])
async def test_calls_go_on_and_every_row_arrives_once(proxy, how):
    async with gateway_over(proxy.address) as gateway:
        storage = gateway.house.storage
        traffic = Traffic(gateway)
        await traffic.answered(30)
        assert storage.store_up
        assert storage.journal.backlog == 0
        await fail(proxy, how, gateway)
        await traffic.answered(60)
        await until(lambda: not storage.store_up and storage.journal.backlog)
        page = gateway.house.metrics.exposition().decode()
        assert "sluice_store_up 0.0" in page
        assert "sluice_journal_backlog 0.0" not in page
        await traffic.answered(60)
        assert not gateway.house.unready()
        await mend(proxy)
        await traffic.answered(30)
        await until(lambda: storage.store_up and not storage.journal.backlog)
        await traffic.answered(30)
        await traffic.end()
        assert bool(proxy.killed) is (how == "reset")
        assert set(traffic.statuses) == {200}
        assert traffic.slowest < 15
        await assert_every_call_is_booked_once(gateway)


@pytest.fixture
def own_server(postgres_server):
    """A server nobody else uses: it is stopped, started and suspended. (The shared one readies the package.)"""
    folder = tempfile.mkdtemp(prefix="sluice-own-pg-")
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def test_calls_go_on_while_the_server_is_stopped_started_and_suspended(own_server):
    await asyncio.to_thread(migrate, own_server.url)
    async with gateway_over(own_server.url) as gateway:
        storage = gateway.house.storage
        traffic = Traffic(gateway)
        await traffic.answered(30)
        await asyncio.to_thread(own_server.stop)
        await traffic.answered(60)
        await until(lambda: not storage.store_up and storage.journal.backlog)
        await asyncio.to_thread(own_server.start)
        await until(lambda: storage.store_up and not storage.journal.backlog)
        with own_server.suspended():
            await traffic.answered(60)
            await until(lambda: not storage.changes.reachable and storage.journal.backlog)
        await until(lambda: storage.store_up and not storage.journal.backlog)
        await traffic.end()
        assert set(traffic.statuses) == {200}
        assert traffic.slowest < 15
        await assert_every_call_is_booked_once(gateway)


async def test_a_full_journal_refuses_new_calls_and_loses_none(proxy):
    async with gateway_over(proxy.address, max_wait=0.3, journal={"max_bytes": 65536}) as gateway:
        storage = gateway.house.storage
        traffic = Traffic(gateway)
        await traffic.answered(10)
        proxy.mode = "refusing"
        await until(gateway.house.unready, within=20)
        assert gateway.house.unready() == ["the journal is full"]
        refused = await gateway.ask("hello")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
        assert refused.headers["x-should-retry"] == "true"
        assert (await gateway.client.get("/readyz")).json()["reasons"] == ["the journal is full"]
        proxy.mode = "open"
        await until(lambda: storage.store_up and not gateway.house.unready() and not storage.journal.backlog)
        await traffic.answered(30)
        await traffic.end()
        assert traffic.statuses.keys() - {"cut"} == {200, 503}
        await assert_every_call_is_booked_once(gateway)


async def test_with_commit_journal_the_store_follows(proxy):
    async with gateway_over(proxy.address, commit="journal") as gateway:
        storage = gateway.house.storage
        traffic = Traffic(gateway)
        await traffic.answered(30)
        proxy.mode = "silent"
        await traffic.answered(60)
        assert storage.journal.backlog
        proxy.mode = "open"
        await traffic.answered(30)
        await traffic.end()
        assert set(traffic.statuses) == {200}
        await assert_every_call_is_booked_once(gateway)
