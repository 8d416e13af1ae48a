"""A ledger of many calls: thirty days of a hundred tenants, up to an hour ago, summed up as a gateway keeps it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from app.store.database import Database
from app.store.migrate import migrate
from app.store.rollups import LAG, Rollups
from app.store.usage import COLUMNS

_LENGTH = 30 * 86_400
_PORTION = 500_000
_NUMBERS = "WITH RECURSIVE s(n) AS (SELECT :begin UNION ALL SELECT n + 1 FROM s WHERE n + 1 < :end)"
_TENANT = "(n * 7919 % 100)"
_MOMENT = "(:first + n * :step)"
_VALUES = {
    "call_id": f"printf('call-%012x%018x', {_MOMENT} * 1000, n)",
    "client_request_id": "NULL",
    "tenant_id": f"'tnt_' || {_TENANT}",
    "key_id": f"'key_' || {_TENANT}",
    "model": "'qwen3-8b'",
    "served_model": "'qwen3-8b'",
    "endpoint": "'e' || (n / 200 % 4)",
    "surface": "'chat'",
    "state": "'settled'",
    "usage_source": "'upstream'",
    "prompt_tokens": "100 + n % 1900",
    "completion_tokens": "n % 500",
    "cached_tokens": "n % 90",
    "reasoning_tokens": "0",
    "wasted_tokens": "0",
    "cost": "0.0",
    "finish": "'stop'",
    "status": "200",
    "error_code": "NULL",
    "started_at": _MOMENT,
    "ttft_s": "0.2",
    "elapsed_s": "2.5",
    "attempts": "1",
    "hour": f"strftime('%Y-%m-%dT%H:00+00:00', {_MOMENT}, 'unixepoch')",
    "gateway": "'host:1:aa'",
}


def fill(path: Path, rows: int) -> None:
    """Creates the SQLite file; nothing of it is left to be written out while others are measured."""
    url = f"sqlite:///{path}"
    migrate(url)
    query = (
        f"INSERT INTO usage ({', '.join(COLUMNS)}) {_NUMBERS}"
        f" SELECT {', '.join(_VALUES[name] for name in COLUMNS)} FROM s"
    )
    step, first = _LENGTH / rows, time.time() - 3600 - _LENGTH
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for begin in range(0, rows, _PORTION):
            end = min(begin + _PORTION, rows)
            connection.execute(query, {"begin": begin, "end": end, "first": first, "step": step})
    asyncio.run(_sum_up(url))
    os.sync()


async def _sum_up(url: str) -> None:
    database = Database(url)
    await Rollups(database).reach(time.time() - LAG)
    await database.aclose()
