"""A quota that is set in the middle of its period counts what was used of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.store.spent import spent

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.database import Database
    from app.store.lookup import KeyLookup
    from app.tenancy.calendar import Calendar
    from app.tenancy.limiter import Limiter


class Recount:
    """Hears of changed tenants, and has the limiter count what the ledger knows of them."""

    def __init__(
        self, database: Database, lookup: KeyLookup, limiter: Limiter, calendar: Calendar, clock: Clock
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._limiter = limiter
        self._calendar = calendar
        self._clock = clock
        self._version: int | None = None

    async def everyone(self) -> None:
        """Before the first call."""
        self._version = (await self._lookup.changed(0)).version
        await self._count(None)

    async def hear(self) -> None:
        """Those that were changed since the last time."""
        if self._version is None:
            return
        changed = await self._lookup.changed(self._version)
        for tenant_id in changed.tenants:
            await self._count(tenant_id)
        self._version = changed.version

    async def _count(self, tenant_id: str | None) -> None:
        windows = self._calendar.windows(self._clock.time())
        self._limiter.seed(await spent(self._database, windows.day.start, windows.month.start, tenant_id))
