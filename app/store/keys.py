"""Keys and their secrets: a secret is shown once, a rotated key keeps its id, limits and history."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict, NotFound
from app.core.tenant import UNLIMITED, Limits
from app.store import tables
from app.store.changes import stamp
from app.store.limits import limits_from, limits_to, patched
from app.store.page import Page, bounded, cut, decode_cursor
from app.store.pepper import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.core.clock import Clock
    from app.store.changes import Changes
    from app.store.database import Database
    from app.store.pepper import Pepper

_table = tables.keys
_secrets = tables.secrets
SHOWN = 8


@dataclass(frozen=True, slots=True)
class KeyRow:
    """`prefix` is the beginning of its newest secret, empty where only a SHA-256 is known."""

    id: str
    tenant_id: str
    name: str = ""
    prefix: str = ""
    limits: Limits = UNLIMITED
    models: list[str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float | None = None
    disabled: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


class StoredKeys:
    """A change is in force in this process when its method returns, elsewhere within a second."""

    def __init__(self, database: Database, changes: Changes, pepper: Pepper, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._pepper = pepper
        self._clock = clock

    async def create(self, tenant_id: str, **fields: Any) -> tuple[KeyRow, str]:
        """The key and its secret, which nobody can ever show again. Raises NotFound."""
        secret = f"sk-{secrets.token_urlsafe(32)}"
        return await self._add(tenant_id, sha256(secret), secret[:SHOWN], fields), secret

    async def adopt(self, tenant_id: str, secret: str | bytes, **fields: Any) -> KeyRow:
        """An existing key: its secret in plain (str) or only the SHA-256 of it (32 bytes).

        Raises NotFound, or Conflict when the secret is a key's already.
        """
        if isinstance(secret, str):
            return await self._add(tenant_id, sha256(secret), secret[:SHOWN], fields)
        return await self._add(tenant_id, secret, "", fields)

    async def get(self, key_id: str) -> KeyRow:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return await _living(connection, key_id)

    async def page(
        self, tenant_id: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[KeyRow]:
        """Oldest first; of all tenants when `tenant_id` is None."""
        size = bounded(limit)
        query = _select().order_by(_table.c.created_at, _table.c.id).limit(size + 1)
        if tenant_id is not None:
            query = query.where(_table.c.tenant_id == tenant_id)
        if cursor is not None:
            after = decode_cursor(cursor, float, str)
            query = query.where(tuple_(_table.c.created_at, _table.c.id) > tuple_(*after))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return cut([_row(row) for row in rows], size, "created_at", "id")

    async def update(self, key_id: str, changes: Mapping[str, Any]) -> KeyRow:
        """Fields that are absent stay; None in or for `limits` lifts a limit. Raises NotFound."""
        async with self._database.write() as connection:
            version = await stamp(connection, "tenants")
            row = await _living(connection, key_id)
            values = _values(row, changes) | {"updated_at": self._clock.time()}
            await connection.execute(update(_table).where(_table.c.id == key_id).values(values))
            await _touch(connection, row.tenant_id, version)
        await self._changes.look()
        return await self.get(key_id)

    async def revoke(self, key_id: str) -> KeyRow:
        """The key as it last was. Raises NotFound."""
        async with self._database.write() as connection:
            version = await stamp(connection, "tenants")
            row = await _living(connection, key_id)
            ended = update(_table).where(_table.c.id == key_id).values(revoked_at=self._clock.time())
            await connection.execute(ended)
            await _touch(connection, row.tenant_id, version)
        await self._changes.look()
        return row

    async def rotate(self, key_id: str, overlap: float = 0.0) -> tuple[KeyRow, str]:
        """A new secret for the same key; its older ones end after `overlap` seconds. Raises NotFound."""
        secret = f"sk-{secrets.token_urlsafe(32)}"
        now = self._clock.time()
        ends = now + overlap
        async with self._database.write() as connection:
            version = await stamp(connection, "tenants")
            row = await _living(connection, key_id)
            older = _secrets.c.key_id == key_id
            still = _secrets.c.expires_at.is_(None) | (_secrets.c.expires_at > ends)
            await connection.execute(update(_secrets).where(older, still).values(expires_at=ends))
            await self._keep(connection, key_id, sha256(secret), secret[:SHOWN], now)
            await _touch(connection, row.tenant_id, version)
        await self._changes.look()
        return await self.get(key_id), secret

    async def _add(self, tenant_id: str, digest: bytes, prefix: str, fields: Mapping[str, Any]) -> KeyRow:
        now = self._clock.time()
        row = KeyRow(f"key_{secrets.token_hex(12)}", tenant_id, created_at=now, updated_at=now)
        values = _values(row, fields) | {"tenant_id": tenant_id, "created_at": now, "updated_at": now}
        try:
            async with self._database.write() as connection:
                version = await stamp(connection, "tenants")
                await _touch(connection, tenant_id, version)
                await connection.execute(insert(_table).values(id=row.id, **values))
                await self._keep(connection, row.id, digest, prefix, now)
        except IntegrityError as error:
            raise Conflict("This secret is a key's already.") from error
        await self._changes.look()
        return await self.get(row.id)

    async def _keep(
        self, connection: AsyncConnection, key_id: str, digest: bytes, prefix: str, now: float
    ) -> None:
        kept = insert(_secrets).values(
            digest=self._pepper.digest(digest), key_id=key_id, prefix=prefix, created_at=now
        )
        await connection.execute(kept)


async def _living(connection: AsyncConnection, key_id: str) -> KeyRow:
    row = (await connection.execute(_select().where(_table.c.id == key_id))).mappings().first()
    if row is None:
        raise NotFound("There is no such key.")
    return _row(row)


async def _touch(connection: AsyncConnection, tenant_id: str, version: int) -> None:
    touched = await connection.execute(
        update(tables.tenants).where(tables.tenants.c.id == tenant_id, tables.living).values(version=version)
    )
    if not touched.rowcount:
        raise NotFound("There is no such tenant.")


def _select() -> Select[Any]:
    newest = (
        select(_secrets.c.prefix)
        .where(_secrets.c.key_id == _table.c.id)
        .order_by(_secrets.c.created_at.desc(), _secrets.c.digest)
        .limit(1)
        .scalar_subquery()
    )
    return select(_table, newest.label("prefix")).where(_table.c.revoked_at.is_(None))


def _row(row: RowMapping) -> KeyRow:
    return KeyRow(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        prefix=row["prefix"] or "",
        limits=limits_from(row["limits"]),
        models=row["models"],
        metadata=row["metadata"] or {},
        expires_at=row["expires_at"],
        disabled=row["disabled"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _values(row: KeyRow, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns after a change; None stands for the default where a column knows no None."""
    new = {name: getattr(row, name) for name in ("name", "models", "metadata", "expires_at", "disabled")}
    unknown = set(changes) - new.keys() - {"limits"}
    if unknown:
        raise TypeError(f"a key has no {', '.join(sorted(unknown))}")
    new |= {name: value for name, value in changes.items() if name in new}
    limits = patched(row.limits, changes["limits"]) if "limits" in changes else row.limits
    return new | {
        "name": new["name"] or "",
        "disabled": bool(new["disabled"]),
        "limits": limits_to(limits),
    }
