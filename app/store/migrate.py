"""Brings a database to the newest schema, and tells which schema it has."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text

from alembic import command
from app.core.errors import StorageUnavailable
from app.store import schema
from app.store.database import Database, DatabaseOptions
from app.store.location import Location
from app.store.refusal import StoreRefusal

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Two gateways may start at once: the second waits for the first one's migration.
_LOCK = 0x5_1C_CE
_PATIENT = DatabaseOptions(lock=60, timeout=600)


def migrate(url: str, to: str = "head") -> None:
    """Creates the database where it is a missing SQLite file. Call it where no event loop runs.

    A schema newer than this release knows is left alone. Raises StoreRefusal.
    """
    asyncio.run(_migrate(url, to))


def current(url: str) -> str | None:
    """The schema's revision; None for an empty database. Call it where no event loop runs."""
    return asyncio.run(_current(url))


def head() -> str:
    """The newest revision this release knows."""
    return _scripts().get_heads()[0]


def require_current(url: str) -> None:
    """Raises StoreRefusal when the schema is older than this release; a newer one is fine."""
    revision = current(url)
    if revision != head() and (revision is None or _known(revision)):
        raise StoreRefusal(
            f"The database has schema {revision or 'none'}, this release needs {head()}: run `sluice migrate`."
        )


def prepare(url: str) -> None:
    """Before a gateway starts: SQLite is migrated, PostgreSQL must have been. Raises StoreRefusal."""
    if Location(url).dialect == "sqlite":
        migrate(url)
    else:
        require_current(url)


async def _migrate(url: str, to: str) -> None:
    database = Database(url, _PATIENT, create=True)
    if database.path is not None:
        database.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        async with database.write() as connection:
            if database.dialect == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(partial(_move, to=to))
    except StorageUnavailable as error:
        raise StoreRefusal(
            f"The database {database.location} cannot be migrated: {error.__cause__}."
        ) from error
    except CommandError as error:
        raise StoreRefusal(f"There is no such schema revision: {to}.") from error
    finally:
        await database.aclose()


def _move(connection: Connection, to: str) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and not _known(revision):
        return
    config = _config()
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    target = scripts.as_revision_number(to)
    older = {script.revision for script in scripts.iterate_revisions(revision, "base")} if revision else set()
    if target is None or target in older - {revision}:
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)


async def _current(url: str) -> str | None:
    database = Database(url)
    try:
        await database.connect()
        async with database.read() as connection:
            return await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )
    finally:
        await database.aclose()


def _known(revision: str) -> bool:
    return revision in {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(schema.scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
