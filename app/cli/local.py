"""Tenants, keys and usage straight from the database of the configuration; it must exist already."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from app.cli.failure import Failed
from app.core.clock import SystemClock
from app.settings import load
from app.store.audit import Audit
from app.store.changes import Changes
from app.store.database import Database
from app.store.keys import StoredKeys
from app.store.location import Location
from app.store.migrate import require_current
from app.store.pepper import unlock
from app.store.reconcile import Reconciliation
from app.store.reports import SHOWN, Reports, UsageFilter
from app.store.sums import DAY
from app.store.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from app.cli.backend import Document
    from app.store.page import Page

Row = TypeVar("Row")


class Local:
    """Running gateways hear of every change within a second; every change is audited."""

    def __init__(self, config: Path | None) -> None:
        """Call it where no event loop runs. Raises ConfigError, or StoreRefusal for no usable database."""
        self._settings = load(config, yes_open=True)
        url = self._settings.database_url.get_secret_value()
        require_current(url)
        self.location = Location(url)
        self._database = Database(url)
        self._clock = SystemClock()
        self._changes = Changes(self._database, self._clock)
        self._tenants = Tenants(self._database, self._changes, self._clock)
        self._audit = Audit(self._database, self._clock)
        self._reports = Reports(self._database)

    async def timezone(self) -> str:
        return self._settings.ledger.timezone

    async def tenants(self) -> list[Document]:
        return [asdict(row) for row in await _all(self._tenants.page)]

    async def create_tenant(self, fields: Mapping[str, Any]) -> Document:
        row = asdict(await self._tenants.create(**fields))
        await self._record("tenant.create", row["id"], None, row)
        return row

    async def update_tenant(self, tenant_id: str, changes: Mapping[str, Any]) -> Document:
        before = asdict(await self._tenants.get(tenant_id))
        row = asdict(await self._tenants.update(tenant_id, changes))
        await self._record("tenant.update", tenant_id, before, row)
        return row

    async def delete_tenant(self, tenant_id: str) -> None:
        before = asdict(await self._tenants.get(tenant_id))
        await self._tenants.delete(tenant_id)
        await self._record("tenant.delete", tenant_id, before, None)

    async def keys(self, tenant_id: str) -> list[Document]:
        keys = await self._keys()
        rows = await _all(lambda limit, cursor: keys.page(tenant_id, limit, cursor))
        return [asdict(row) for row in rows]

    async def create_key(self, tenant_id: str, fields: Mapping[str, Any]) -> Document:
        row, secret = await (await self._keys()).create(tenant_id, **fields)
        await self._record("key.create", row.id, None, asdict(row))
        return asdict(row) | {"secret": secret}

    async def update_key(self, key_id: str, changes: Mapping[str, Any]) -> Document:
        keys = await self._keys()
        before = asdict(await keys.get(key_id))
        row = asdict(await keys.update(key_id, changes))
        await self._record("key.update", key_id, before, row)
        return row

    async def revoke_key(self, key_id: str, *, abort: bool) -> None:
        if abort:
            raise Failed("only the gateway itself can cut its running calls: set SLUICE_URL for --abort")
        before = await (await self._keys()).revoke(key_id)
        await self._record("key.revoke", key_id, asdict(before), None)

    async def rotate_key(self, key_id: str, overlap: float) -> Document:
        keys = await self._keys()
        before = asdict(await keys.get(key_id))
        row, secret = await keys.rotate(key_id, overlap)
        await self._record("key.rotate", key_id, before, asdict(row), overlap_seconds=overlap)
        return asdict(row) | {"secret": secret}

    async def adopt_key(self, tenant_id: str, secret: str | bytes, fields: Mapping[str, Any]) -> Document:
        row = asdict(await (await self._keys()).adopt(tenant_id, secret, **fields))
        await self._record("key.import", row["id"], None, row)
        return row

    async def usage(self, which: Mapping[str, Any], group_by: Sequence[str]) -> list[Document]:
        return await self._reports.summary(UsageFilter(**which), group_by)

    async def calls(self, which: Mapping[str, Any]) -> AsyncIterator[Document]:
        async for row in self._reports.export(UsageFilter(**which)):
            yield {name: getattr(row, name) for name in SHOWN}

    async def reconcile(self, which: Mapping[str, Any]) -> list[Document]:
        end = which.get("end", self._clock.time())
        span = (which.get("start", end - DAY), end)
        found = await Reconciliation(self._database).balances(*span, which.get("endpoint"), which.get("step"))
        return [balance.row() for balance in found]

    async def prune(self, before: float) -> int:
        pruned = await self._reports.prune(before)
        await self._audit.record(_operator(), "usage.prune", "usage", origin="cli", detail={"rows": pruned})
        return pruned

    async def aclose(self) -> None:
        await self._changes.aclose()
        await self._database.aclose()

    async def _keys(self) -> StoredKeys:
        """Raises StoreRefusal when the secret is not the one the keys were stored with."""
        secret, previous = self._settings.secret, self._settings.secret_previous
        pepper = await unlock(
            self._database,
            secret.get_secret_value() if secret else None,
            previous.get_secret_value() if previous else None,
        )
        return StoredKeys(self._database, self._changes, pepper, self._clock)

    async def _record(
        self, action: str, subject: str, before: Document | None, after: Document | None, **more: object
    ) -> None:
        """The fields that are not the same, as they were and as they are."""
        old, new = before or {}, after or {}
        changed = [name for name in old | new if old.get(name) != new.get(name) and name != "updated_at"]
        detail = {
            "before": None if before is None else {name: old.get(name) for name in changed},
            "after": None if after is None else {name: new.get(name) for name in changed},
        }
        await self._audit.record(_operator(), action, subject, origin="cli", detail=detail | more)


def _operator() -> str:
    """The login at this machine; containers may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


async def _all(page: Callable[[int | None, str | None], Awaitable[Page[Row]]]) -> list[Row]:
    rows: list[Row] = []
    cursor: str | None = None
    while True:
        found = await page(1000, cursor)
        rows += found.rows
        cursor = found.next_cursor
        if cursor is None:
            return rows
