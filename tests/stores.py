"""A migrated database with every repository over it, for tests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.store.audit import Audit
from app.store.changes import Changes
from app.store.database import Database, DatabaseOptions
from app.store.intents import Intents
from app.store.keys import StoredKeys
from app.store.lookup import KeyLookup
from app.store.migrate import migrate
from app.store.orphans import Orphans
from app.store.pepper import Pepper
from app.store.reports import Reports
from app.store.tenants import Tenants
from app.store.usage import UsageRow, UsageRows
from tests.clock import FakeClock

PEPPER = Pepper("a pepper of the tests")


@dataclass
class Stores:
    url: str
    clock: FakeClock
    database: Database
    changes: Changes
    tenants: Tenants
    keys: StoredKeys
    lookup: KeyLookup
    rows: UsageRows
    reports: Reports
    audit: Audit
    intents: Intents

    def orphans(self, gateway: str) -> Orphans:
        return Orphans(self.database, self.clock, gateway)


@asynccontextmanager
async def opened(url: str, clock: FakeClock | None = None, pepper: Pepper = PEPPER, migrated: bool = True):
    """The stores over a database that is migrated first."""
    if migrated:
        await asyncio.to_thread(migrate, url)
    clock = clock or FakeClock()
    database = Database(url, DatabaseOptions(timeout=5.0))
    changes = Changes(database, clock)
    stores = Stores(
        url,
        clock,
        database,
        changes,
        Tenants(database, changes, clock),
        StoredKeys(database, changes, pepper, clock),
        KeyLookup(database),
        UsageRows(database),
        Reports(database),
        Audit(database, clock),
        Intents(database, changes, clock),
    )
    try:
        yield stores
    finally:
        await stores.rows.aclose()
        await changes.aclose()
        await database.aclose()


def usage_row(call_id: str, **fields) -> UsageRow:
    """A settled call of 10 + 20 tokens."""
    known = {
        "client_request_id": None,
        "tenant_id": "tnt_1",
        "key_id": "key_1",
        "model": "m",
        "served_model": "m-served",
        "endpoint": "gpu-a",
        "surface": "chat",
        "state": "settled",
        "usage_source": "upstream",
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "cached_tokens": 4,
        "reasoning_tokens": 2,
        "wasted_tokens": 0,
        "cost": 0.5,
        "finish": "stop",
        "status": 200,
        "error_code": None,
        "started_at": 1_795_000_000.0,
        "ttft_s": 0.1,
        "elapsed_s": 0.5,
        "attempts": 1,
        "hour": "2026-11-18T07:00+00:00",
        "gateway": "host:1:aa",
    }
    return UsageRow(call_id=call_id, **(known | fields))
