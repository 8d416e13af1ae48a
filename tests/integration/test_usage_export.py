"""A whole ledger leaves as a file without ever being in memory."""

from __future__ import annotations

import os

import pytest

from app.admin.download import as_csv, as_jsonl
from app.admin.usage import shown
from app.store.reports import SHOWN
from tests.money.many_rows import fill
from tests.stores import opened

pytest_plugins = ("tests.postgres",)

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_ten_times_the_rows_need_no_more_memory(store_url, form):
    async with opened(store_url) as stores:
        await fill(stores.database, 20_000)

        async def exported(most):
            taken = (shown(row) async for row in stores.reports.export())
            chunks = as_csv(taken, SHOWN) if form == "csv" else as_jsonl(taken)
            lines, peak = 0, 0
            async for chunk in chunks:
                lines += chunk.count(b"\n")
                peak = max(peak, resident())
                if lines >= most:
                    break
            await chunks.aclose()
            return lines, peak

        _, few = await exported(3000)
        lines, many = await exported(10**9)
        assert lines == 20_000 + (form == "csv")
        assert many - few < 8 * 2**20
