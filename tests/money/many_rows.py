"""Fills a ledger with as many calls as one wants, in SQL alone: 30 days of 100 tenants with 2 keys each."""

from __future__ import annotations

from sqlalchemy import text

from app.store.database import Database
from app.store.usage import COLUMNS

FIRST = 1_792_800_000.0
"""A midnight in UTC."""
LENGTH = 30 * 86_400.0
_PORTION = 500_000

_SQLITE = {
    "numbers": "WITH RECURSIVE s(n) AS (SELECT :begin UNION ALL SELECT n + 1 FROM s WHERE n + 1 < :end)",
    "from": "s",
    "hour": "strftime('%Y-%m-%dT%H:00+00:00', {t}, 'unixepoch')",
}
_POSTGRESQL = {
    "numbers": "",
    "from": "generate_series(CAST(:begin AS bigint), CAST(:end AS bigint) - 1) AS s(n)",
    "hour": "to_char(to_timestamp({t}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00\"+00:00\"')",
}


async def fill(database: Database, rows: int, length: float = LENGTH, first: float = FIRST) -> None:
    """Calls at even distances from `first` on; one in 50 failed, one in 100 left."""
    dialect = _POSTGRESQL if database.dialect == "postgresql" else _SQLITE
    moment = f"({first} + n * {length / rows!r})"
    tenant, key = "(n * 7919 % 100)", "(n / 100 % 2)"
    values = {
        "call_id": "'call-' || n",
        "client_request_id": "NULL",
        "tenant_id": f"'tnt_' || {tenant}",
        "key_id": f"'key_' || {tenant} || '_' || {key}",
        "model": f"'model-' || (({tenant} + {key}) % 3)",
        "served_model": f"'served-' || (({tenant} + {key}) % 3)",
        "endpoint": "'gpu-' || (n / 200 % 4)",
        "surface": "'chat'",
        "state": "CASE WHEN n % 50 = 7 THEN 'void' ELSE 'settled' END",
        "usage_source": "'upstream'",
        "prompt_tokens": "100 + n % 1900",
        "completion_tokens": "n % 500",
        "cached_tokens": "n % 90",
        "reasoning_tokens": "n % 7",
        "wasted_tokens": "0",
        "cost": "(n % 500) * 0.000001",
        "finish": "'stop'",
        "status": "CASE WHEN n % 50 = 7 THEN 502 WHEN n % 100 = 3 THEN 499 ELSE 200 END",
        "error_code": "CASE WHEN n % 50 = 7 THEN 'upstream_error' END",
        "started_at": moment,
        "ttft_s": "0.2",
        "elapsed_s": "2.5",
        "attempts": "1",
        "hour": dialect["hour"].format(t=moment),
        "gateway": "'host:1:aa'",
    }
    query = (
        f"INSERT INTO usage ({', '.join(COLUMNS)}) {dialect['numbers']}"
        f" SELECT {', '.join(values[name] for name in COLUMNS)} FROM {dialect['from']}"
    )
    for begin in range(0, rows, _PORTION):
        async with database.write(600.0) as connection:
            await connection.execute(text(query), {"begin": begin, "end": min(begin + _PORTION, rows)})
