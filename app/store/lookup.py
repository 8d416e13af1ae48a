"""Who the digest of a secret belongs to: the one query of the line, on a cold key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from app.core.tenant import Key
from app.store import tables
from app.store.limits import limits_from
from app.store.tenants import tenant_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping

    from app.store.database import Database

# Below every database's bound on parameters of one statement.
_AT_ONCE = 500


class KeyLookup:
    """Revoked and disabled keys, and keys of disabled and deleted tenants, are not found; expired ones are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, digests: Sequence[str]) -> dict[str, Key]:
        """The keys of those digests that open something; `expires_at` is their secret's or their own."""
        found: dict[str, Key] = {}
        async with self._database.read() as connection:
            for start in range(0, len(digests), _AT_ONCE):
                some = digests[start : start + _AT_ONCE]
                rows = await connection.execute(_QUERY.where(tables.secrets.c.digest.in_(some)))
                found |= {row["digest"]: _key(row) for row in rows.mappings()}
        return found

    async def rehash(self, old: str, new: str) -> None:
        """Store a secret under the present pepper."""
        async with self._database.write() as connection:
            await connection.execute(
                update(tables.secrets).where(tables.secrets.c.digest == old).values(digest=new)
            )

    async def changed(self, since: int) -> Changed:
        """The tenants that were changed after version `since`, or had a key changed."""
        tenants = tables.tenants
        async with self._database.read() as connection:
            newest = await connection.scalar(select(func.max(tenants.c.version)))
            ids = await connection.scalars(select(tenants.c.id).where(tenants.c.version > since))
            return Changed(newest or 0, frozenset(ids))


@dataclass(frozen=True, slots=True)
class Changed:
    version: int
    tenants: frozenset[str]


_OWN = [column.label(f"key_{column.name}") for column in tables.keys.columns]
_QUERY = (
    select(
        tables.tenants,
        *_OWN,
        tables.secrets.c.digest,
        tables.secrets.c.expires_at.label("secret_expires_at"),
    )
    .join_from(tables.secrets, tables.keys, tables.keys.c.id == tables.secrets.c.key_id)
    .join(tables.tenants, tables.tenants.c.id == tables.keys.c.tenant_id)
    .where(
        tables.keys.c.revoked_at.is_(None),
        tables.keys.c.disabled.is_(False),
        tables.tenants.c.disabled.is_(False),
        tables.living,
    )
)


def _key(row: RowMapping) -> Key:
    ends: list[Any] = [row["key_expires_at"], row["secret_expires_at"]]
    models = row["key_models"]
    return Key(
        id=row["key_id"],
        tenant=tenant_row(row).tenant(),
        name=row["key_name"],
        limits=limits_from(row["key_limits"]),
        models=None if models is None else frozenset(models),
        expires_at=min((end for end in ends if end is not None), default=None),
    )
