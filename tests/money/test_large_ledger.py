"""Reports over a month of ten million calls."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from app.store.reports import UsageFilter
from app.store.rollups import Rollups
from tests.money.many_rows import FIRST, LENGTH, fill
from tests.stores import opened

pytest_plugins = ("tests.postgres",)

ROWS = 10_000_000


@pytest.mark.long
async def test_a_months_summary_takes_less_than_a_third_of_a_second(store_url):
    async with opened(store_url) as stores:
        await fill(stores.database, ROWS)
        await Rollups(stores.database).reach(FIRST + LENGTH - 300)
        async with stores.database.write(600.0) as connection:
            await connection.execute(text("ANALYZE"))
        month = UsageFilter(start=FIRST, end=FIRST + LENGTH)
        for groups in ([], ["tenant"], ["model"], ["day"], ["endpoint", "surface"]):
            took = []
            for _ in range(3):
                began = time.perf_counter()
                rows = await stores.reports.summary(month, groups)
                took.append(time.perf_counter() - began)
            assert min(took) < 0.3
            assert sum(row["requests"] for row in rows) == ROWS
            assert sum(row["errors"] for row in rows) == ROWS // 50
