"""What is kept: the database, tenants and keys, the ledger, the limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable
from app.settings import prices
from app.state.memory import MemoryCounters
from app.store.audit import Audit
from app.store.changes import Changes
from app.store.database import Database
from app.store.engines import EngineCounts
from app.store.intents import Intents
from app.store.journal import Journal
from app.store.keys import StoredKeys
from app.store.living import living
from app.store.lookup import KeyLookup
from app.store.orphans import Orphans, gateway_id
from app.store.pepper import sha256, unlock
from app.store.reconcile import Reconciliation
from app.store.reports import Reports
from app.store.schema import up_to_date
from app.store.tenants import Tenants
from app.store.usage import UsageRows
from app.tenancy.calendar import Calendar
from app.tenancy.drain import Drain
from app.tenancy.entry import Entries
from app.tenancy.journal import JournaledRows
from app.tenancy.keys import Keys, KeysOptions
from app.tenancy.ledger import StoreLedger
from app.tenancy.limiter import Limiter
from app.tenancy.open import OpenDirectory
from app.tenancy.pricing import Pricing
from app.tenancy.recount import Recount
from app.tenancy.storing import Storing
from app.tenancy.upkeep import Upkeep
from app.wiring.chores import store_chores
from app.wiring.counters import open_shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.core.ports import KeyDirectory
    from app.core.tenant import Tenant
    from app.settings import Settings
    from app.state.redis import RedisCounters
    from app.store.pepper import Pepper
    from app.tenancy.chores import Chores
    from app.tenancy.ledger import LedgerOptions


@dataclass(slots=True)
class Storage:
    """Everything that knows the database."""

    database: Database
    changes: Changes
    tenants: Tenants
    stored_keys: StoredKeys
    known: Keys
    keys: KeyDirectory
    audit: Audit
    intents: Intents
    reports: Reports
    ledger: StoreLedger
    storing: Storing
    journal: Journal
    drain: Drain
    pricing: Pricing
    limiter: Limiter
    shared: RedisCounters | None
    recount: Recount
    calendar: Calendar
    upkeep: Upkeep
    engines: EngineCounts
    reconciliation: Reconciliation
    chores: Chores
    pepper: Pepper
    clock: Clock

    async def start(self) -> None:
        """Take over what a dead process left, count what was used, and begin to watch and write."""
        await self.drain.start()
        await self.upkeep.start()
        if self.shared is None:
            await self.recount.everyone()
        else:
            await self.shared.start(self.recount.everyone, await living(self.database, self.clock.time()))
        await self.changes.look()
        self.changes.start()
        self.ledger.start()
        self.chores.start()

    @property
    def store_up(self) -> bool:
        """The database answers, and takes usage rows in time."""
        return self.changes.reachable and self.storing.prompt

    def cache_salt(self, tenant: Tenant) -> str:
        """The same for a tenant at every gateway, and nobody else can derive it."""
        return self.pepper.digest(sha256(f"cache salt of {tenant.id}"))[:32]

    async def aclose(self) -> None:
        await self.chores.aclose()
        with suppress(StorageUnavailable):
            await self.engines.keep()
        if self.shared is not None:
            await self.shared.aclose()
        await self.ledger.aclose()
        await self.changes.aclose()
        await self.known.aclose()
        await self.upkeep.aclose()
        await self.database.aclose()


async def open_storage(
    settings: Settings, clock: Clock, committed: Callable[[int, float], object], *, worker: int | None = None
) -> Storage:
    """`worker`: the number of one of several, whose supervisor has seen to the schema.

    Raises StoreRefusal when the database is of another schema or another secret, or the journal unusable.
    """
    database = await _open_database(settings.database_url.get_secret_value(), prepared=worker is not None)
    pepper = await _unlock(settings, database)
    changes = Changes(database, clock)
    lookup, gateway = KeyLookup(database), gateway_id()
    known = Keys(lookup, changes, pepper, clock, KeysOptions(cache_grace=settings.auth.cache_grace))
    journal = await _open_journal(settings, database)
    storing, drain, rows = _writing(settings.ledger, database, journal, clock)
    calendar = Calendar(settings.ledger.timezone)
    shared = open_shared(settings, clock, gateway)
    limiter = Limiter(shared or MemoryCounters(clock), clock, calendar)
    recount = Recount(database, lookup, limiter, calendar, clock)
    changes.subscribe("tenants", recount.hear)
    engines, reconciliation = EngineCounts(database, clock), Reconciliation(database)
    pricing = Pricing(prices(settings))
    entries = Entries(pricing, calendar, gateway)
    return Storage(
        database=database,
        changes=changes,
        tenants=Tenants(database, changes, clock),
        stored_keys=StoredKeys(database, changes, pepper, clock),
        known=known,
        keys=OpenDirectory() if settings.auth.mode == "open" else known,
        audit=Audit(database, clock),
        intents=Intents(database, changes, clock),
        reports=Reports(database),
        ledger=StoreLedger(rows, entries, clock, settings.ledger, committed),
        storing=storing,
        journal=journal,
        drain=drain,
        limiter=limiter,
        recount=recount,
        shared=shared,
        pricing=pricing,
        calendar=calendar,
        upkeep=Upkeep(Orphans(database, clock, gateway), clock),
        engines=engines,
        reconciliation=reconciliation,
        chores=store_chores(database, engines, reconciliation, clock, settings.ledger.retention),
        pepper=pepper,
        clock=clock,
    )


def _writing(
    options: LedgerOptions, database: Database, journal: Journal, clock: Clock
) -> tuple[Storing, Drain, JournaledRows]:
    """The way of a row: into the store, or into the journal and from there into the store."""
    storing = Storing(UsageRows(database), clock, options.journal.after)
    drain = Drain(journal, storing, clock, batch=options.batch, retry=options.retry)
    return storing, drain, JournaledRows(storing, journal, drain, clock, straight=options.commit == "store")


async def _open_database(url: str, *, prepared: bool) -> Database:
    if not (prepared or await up_to_date(url)):
        from app.store.migrate import prepare

        await asyncio.to_thread(prepare, url)
    database = Database(url)
    await database.connect()
    return database


async def _unlock(settings: Settings, database: Database) -> Pepper:
    secret, previous = settings.secret, settings.secret_previous
    return await unlock(
        database,
        secret.get_secret_value() if secret else None,
        previous.get_secret_value() if previous else None,
    )


async def _open_journal(settings: Settings, database: Database) -> Journal:
    options = settings.ledger.journal
    beside = database.path.parent if database.path is not None else Path.cwd()
    journal = Journal(beside / options.path, options.max_bytes)
    await journal.open()
    return journal
