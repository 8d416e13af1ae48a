"""What the store needs done is done in time, on a real database."""

from __future__ import annotations

import asyncio

from app.store.engines import EngineCounts
from app.store.reconcile import Reconciliation
from app.store.reports import PRUNE_EVERY
from app.wiring.chores import store_chores
from tests.stores import opened, usage_row

pytest_plugins = ("tests.postgres",)

DAY = 86400.0


async def test_rows_older_than_the_retention_are_forgotten_once_an_hour(store_url):
    async with opened(store_url) as stores:
        now = stores.clock.time()
        await stores.rows.write(
            [usage_row("old", started_at=now - 31 * DAY), usage_row("young", started_at=now - 29 * DAY)]
        )
        counts = EngineCounts(stores.database, stores.clock)
        chores = store_chores(
            stores.database, counts, Reconciliation(stores.database), stores.clock, retention=30 * DAY
        )
        chores.start()
        await asyncio.sleep(0)
        stores.clock.advance(PRUNE_EVERY - 1)
        assert await left(stores) == ["old", "young"]
        stores.clock.advance(1)
        async with asyncio.timeout(10):
            while await left(stores) != ["young"]:
                await asyncio.sleep(0.01)
        await chores.aclose()


async def left(stores):
    return sorted([row.call_id async for row in stores.reports.export()])
