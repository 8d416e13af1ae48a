"""Several gateways of several workers each, over one database and one Redis, with callers at all of them."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from app.simulator import Record, Simulator
from app.store.migrate import migrate
from app.store.pepper import Pepper
from app.store.reports import UsageFilter
from app.store.usage import UsageRow
from tests.crowd import Customer, connected
from tests.rawcaller import RawCaller
from tests.redis_server import RedisServer, serving
from tests.stores import opened
from tests.supervised import SOON, Supervised, operator, supervised

SECRET = "a secret of the tests that is long enough"


@dataclass
class Site:
    """The gateways and everything that they share."""

    folder: Path
    url: str
    gateways: list[Supervised]
    workers: int
    simulators: list[Simulator]
    redis: RedisServer

    @property
    def truth(self) -> dict[str | None, Record]:
        """What the engines did for each call."""
        return {each.request_id: each for simulator in self.simulators for each in simulator.truth.records}

    async def rows(self, tenant: str, state: str | None = None) -> list[UsageRow]:
        """A tenant's part of the ledger."""
        async with opened(self.url, pepper=Pepper(SECRET), migrated=False) as stores:
            return [row async for row in stores.reports.export(UsageFilter(tenant_id=tenant, state=state))]

    async def settled(self, tenant: str) -> list[UsageRow]:
        """Those of a tenant that asks nothing more, once none is open or in a journal."""

        async def written() -> bool:
            return not sum(self.journaled()) and not await self.rows(tenant, "open")

        await until(written)
        return await self.rows(tenant)

    async def told(self, name: str) -> list[float]:
        """What each gateway says of a metric, added up over its labels."""
        found = []
        for gateway in self.gateways:
            text = (await page(gateway, "/metrics")).text
            values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
            found.append(sum(map(float, values)))
        return found

    @asynccontextmanager
    async def held_up(self):
        """The store takes no usage rows."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                yield
            return
        other = await asyncpg.connect(self.url)
        try:
            async with other.transaction():
                await other.execute("LOCK TABLE usage IN EXCLUSIVE MODE")
                yield
        finally:
            await other.close()

    def journaled(self) -> list[int]:
        """The rows in each journal there is."""
        found = []
        for file in self.folder.rglob("sluice-journal.db"):
            with closing(sqlite3.connect(file)) as journal:
                found.append(journal.execute("SELECT coalesce(sum(size), 0) FROM batches").fetchone()[0])
        return found


@asynccontextmanager
async def site(folder: Path, url: str, number: int, workers: int):
    """All gateways start at once. Each has a folder of its own: with PostgreSQL, a journal of its own too."""
    async with AsyncExitStack() as stack:
        engines = [Simulator(ttft=0.01, itl=0.001, seed=seed) for seed in range(2)]
        for engine in engines:
            await stack.enter_async_context(engine)
        redis = stack.enter_context(serving())
        if url.startswith("postgresql"):
            await asyncio.to_thread(migrate, url)
        settings: dict[str, Any] = {"secret": SECRET, "logging": {"access": {"enabled": False}}}
        settings |= {"database_url": url, "redis_url": redis.url}

        async def start(name: str) -> Supervised:
            (folder / name).mkdir()
            made = supervised(folder / name, [engine.url for engine in engines], workers, **settings)
            gateway = await asyncio.to_thread(made.__enter__)
            stack.push_async_callback(asyncio.to_thread, made.__exit__, None, None, None)
            return gateway

        started = await asyncio.gather(
            *(start(f"gateway-{place}") for place in range(number)), return_exceptions=True
        )
        for each in started:
            if isinstance(each, BaseException):
                raise each
        yield Site(folder, url, started, workers, engines, redis)


async def customer(gateway: Supervised, **limits: int) -> Customer:
    """A new one, made at this gateway."""
    async with operator(gateway) as ops:
        body = {"name": f"tenant-{time.monotonic_ns()}", "limits": limits}
        tenant = (await ops.post("/admin/v1/tenants", json=body)).json()["id"]
        key = (await ops.post(f"/admin/v1/tenants/{tenant}/keys", json={})).json()
    return Customer(tenant, key["id"], key["secret"])


async def page(gateway: Supervised, path: str) -> httpx.Response:
    async with operator(gateway) as ops:
        return await ops.get(path)


async def until(true: Any, within: float = SOON) -> None:
    """Wait for an answer that nobody announces."""
    async with asyncio.timeout(within):
        while not await true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def one_at_each(site: Site):
    """A connection to each worker of each gateway."""
    callers: list[RawCaller] = []
    try:
        yield [caller for gateway in site.gateways for caller in (await _one_at_each(gateway, site, callers))]
    finally:
        for caller in callers:
            caller.hang_up()


async def _one_at_each(gateway: Supervised, site: Site, callers: list[RawCaller]) -> list[RawCaller]:
    """The kernel chooses who accepts; `callers` are all that were tried."""
    found: dict[int, RawCaller] = {}
    async with operator(gateway) as ops:

        async def held() -> dict[int, int]:
            rows = (await ops.get("/status")).json()["workers"]
            return {row["worker"]: row["connections"] for row in rows}

        before = await held()
        while len(found) < site.workers:
            callers.append(await connected(gateway))
            while (after := await held()) == before:
                pass
            (worker,) = [seat for seat in after if after[seat] > before[seat]]
            found.setdefault(worker, callers[-1])
            before = after
    return list(found.values())
