"""Measures the reports over a large ledger: python -m tests.money.measure_reports --rows 10000000 [--postgres]."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import text

from app.store.database import Database
from app.store.migrate import migrate
from app.store.reports import Reports, UsageFilter
from app.store.rollups import Rollups
from app.store.spent import spent
from tests.money.many_rows import FIRST, LENGTH, fill
from tests.postgres import _execute, _server

MONTH = UsageFilter(start=FIRST, end=FIRST + LENGTH)
ODD = UsageFilter(start=FIRST + 1234.5, end=FIRST + LENGTH - 4321.5)
RUNNING = UsageFilter(start=FIRST + 1234.5)


async def timed(what: str, question, times: int = 5) -> None:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await question()
        took.append(time.perf_counter() - began)
    print(
        f"{what:50} {min(took) * 1000:8.1f} ms best, {max(took) * 1000:8.1f} ms worst of {times}", flush=True
    )


async def measure(url: str, rows: int, length: float) -> None:
    database = Database(url)
    began = time.perf_counter()
    await fill(database, rows, length)
    print(f"wrote {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)
    reports, rollups = Reports(database), Rollups(database)
    if rows <= 1_000_000:
        await timed("month, nothing rolled up yet", lambda: reports.summary(MONTH), 1)
    began = time.perf_counter()
    await rollups.reach(FIRST + length - 300)
    print(f"rolled up in {time.perf_counter() - began:.0f} s", flush=True)
    async with database.write(600.0) as connection:
        for table in ("usage_quarters", "usage_hours", "usage_days", "usage_late"):
            print(f"{table}: {await connection.scalar(text(f'SELECT count(*) FROM {table}')):,} rows")
        await connection.execute(text("ANALYZE"))
    for groups in ([], ["tenant"], ["model"], ["day"], ["tenant", "model"], ["day", "tenant"], ["endpoint"]):
        await timed(f"month by {','.join(groups) or 'nothing'}", partial(reports.summary, MONTH, groups))
    await timed("month by hour", lambda: reports.summary(MONTH, ["hour"]), 2)
    await timed("month that begins and ends oddly, by tenant", lambda: reports.summary(ODD, ["tenant"]))
    await timed("up to now, by tenant", lambda: reports.summary(RUNNING, ["tenant"]))
    mine = UsageFilter(tenant_id="tnt_7", key_id="key_7_1", start=FIRST + 1234.5)
    await timed("one key's days, as /v1/me tells them", lambda: reports.summary(mine, ["day"]))
    await timed("what of the quotas is spent", lambda: spent(database, FIRST + length - 86_400, FIRST))
    page = await reports.page(MONTH, 1000)
    await timed("first page of 1000 calls", lambda: reports.page(MONTH, 1000))
    await timed("the next", lambda: reports.page(MONTH, 1000, page.next_cursor))
    await timed("one tenant's page of 100", lambda: reports.page(UsageFilter(tenant_id="tnt_7"), 100))
    began, count = time.perf_counter(), 0
    async for _ in reports.export(MONTH):
        count += 1
        if count == 1_000_000:
            break
    print(f"exported {count:,} rows in {time.perf_counter() - began:.1f} s")
    await database.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=float, default=30.0, help="over which the calls are spread")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the SQLite file; else a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        url = f"sqlite:///{folder}/sluice.db"
        if given.postgres:
            server = _server()
            _execute(server, "CREATE DATABASE measured")
            url = urlunsplit(urlsplit(server)._replace(path="/measured"))
        migrate(url)
        asyncio.run(measure(url, given.rows, given.days * 86_400))
        if not given.postgres:
            print(f"the file has {Path(folder, 'sluice.db').stat().st_size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
