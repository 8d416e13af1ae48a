"""Tenants: names are unique among the living, deleted ones stay for the ledger's sake."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict, NotFound
from app.core.tenant import UNLIMITED, Limits, Tenant
from app.store import tables
from app.store.changes import stamp
from app.store.limits import limits_from, limits_to, patched, patched_by_model, strict_in
from app.store.page import Page, bounded, cut, decode_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping, Select

    from app.core.clock import Clock
    from app.store.changes import Changes
    from app.store.database import Database

_table = tables.tenants


@dataclass(frozen=True, slots=True)
class TenantRow:
    """`models`: None = all, empty = none; times are seconds since the epoch."""

    id: str
    name: str
    limits: Limits = UNLIMITED
    model_limits: Mapping[str, Limits] = field(default_factory=dict)
    models: list[str] | None = None
    priority: int = 0
    strict: bool = False
    disabled: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0

    def tenant(self) -> Tenant:
        """What the line needs of it."""
        models = None if self.models is None else frozenset(self.models)
        return Tenant(
            self.id, self.name, self.limits, self.model_limits, models, self.priority, strict=self.strict
        )


class Tenants:
    """A change is in force in this process when its method returns, elsewhere within a second."""

    def __init__(self, database: Database, changes: Changes, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock

    async def create(self, name: str, **fields: Any) -> TenantRow:
        """`fields` as in `update`. Raises Conflict on a taken name."""
        now = self._clock.time()
        blank = TenantRow(f"tnt_{secrets.token_hex(12)}", name, created_at=now)
        values = {"created_at": now, **_values(blank, {"name": name, **fields}, now)}
        try:
            async with self._database.write() as connection:
                values["version"] = await stamp(connection, "tenants")
                await connection.execute(insert(_table).values(id=blank.id, **values))
        except IntegrityError as error:
            raise Conflict(f"A tenant named {name!r} exists already.", param="name") from error
        await self._changes.look()
        return await self.get(blank.id)

    async def get(self, tenant_id: str) -> TenantRow:
        """Raises NotFound."""
        found = await self._first(_living().where(_table.c.id == tenant_id))
        if found is None:
            raise NotFound("There is no such tenant.")
        return found

    async def named(self, name: str) -> TenantRow | None:
        return await self._first(_living().where(_table.c.name == name))

    async def page(self, limit: int | None = None, cursor: str | None = None) -> Page[TenantRow]:
        """Oldest first."""
        size = bounded(limit)
        query = _living().order_by(_table.c.created_at, _table.c.id).limit(size + 1)
        if cursor is not None:
            after = decode_cursor(cursor, float, str)
            query = query.where(tuple_(_table.c.created_at, _table.c.id) > tuple_(*after))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return cut([tenant_row(row) for row in rows], size, "created_at", "id")

    async def update(self, tenant_id: str, changes: Mapping[str, Any]) -> TenantRow:
        """Fields that are absent stay; None in or for `limits` and `model_limits` lifts a limit.

        Raises NotFound, or Conflict on a taken name.
        """
        now = self._clock.time()
        try:
            async with self._database.write() as connection:
                version = await stamp(connection, "tenants")
                query = _living().where(_table.c.id == tenant_id)
                row = (await connection.execute(query)).mappings().first()
                if row is None:
                    raise NotFound("There is no such tenant.")
                values = {"version": version, **_values(tenant_row(row), changes, now)}
                await connection.execute(update(_table).where(_table.c.id == tenant_id).values(values))
        except IntegrityError as error:
            raise Conflict(f"A tenant named {changes.get('name')!r} exists already.", param="name") from error
        await self._changes.look()
        return await self.get(tenant_id)

    async def delete(self, tenant_id: str) -> None:
        """Its keys end with it, its ledger stays, its name is free again. Raises NotFound."""
        now = self._clock.time()
        async with self._database.write() as connection:
            version = await stamp(connection, "tenants")
            ended = await connection.execute(
                update(_table)
                .where(_table.c.id == tenant_id, _table.c.deleted_at.is_(None))
                .values(deleted_at=now, updated_at=now, version=version)
            )
            if not ended.rowcount:
                raise NotFound("There is no such tenant.")
            await connection.execute(
                update(tables.keys)
                .where(tables.keys.c.tenant_id == tenant_id, tables.keys.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
        await self._changes.look()

    async def _first(self, query: Select[Any]) -> TenantRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else tenant_row(row)


def tenant_row(row: RowMapping) -> TenantRow:
    return TenantRow(
        id=row["id"],
        name=row["name"],
        limits=limits_from(row["limits"]),
        model_limits={model: limits_from(limits) for model, limits in (row["model_limits"] or {}).items()},
        models=row["models"],
        priority=row["priority"],
        strict=strict_in(row["limits"]),
        disabled=row["disabled"],
        metadata=row["metadata"] or {},
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _living() -> Select[Any]:
    return select(_table).where(tables.living)


def _values(row: TenantRow, changes: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The columns after a change; None stands for the default where a column knows no None."""
    new = {name: getattr(row, name) for name in ("name", "models", "priority", "disabled", "metadata")}
    unknown = set(changes) - new.keys() - {"limits", "model_limits", "strict"}
    if unknown:
        raise TypeError(f"a tenant has no {', '.join(sorted(unknown))}")
    new |= {name: value for name, value in changes.items() if name in new}
    limits = patched(row.limits, changes["limits"]) if "limits" in changes else row.limits
    by_model = row.model_limits
    if "model_limits" in changes:
        by_model = patched_by_model(by_model, changes["model_limits"])
    return new | {
        "priority": new["priority"] or 0,
        "disabled": bool(new["disabled"]),
        "limits": limits_to(limits, strict=bool(changes.get("strict", row.strict))),
        "model_limits": {model: limits_to(each) for model, each in by_model.items()} or None,
        "updated_at": now,
    }
