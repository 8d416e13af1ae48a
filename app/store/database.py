"""One database, SQLite or PostgreSQL: transactions with a time limit, failures in the house's words."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from sqlalchemy import URL, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.errors import StorageUnavailable
from app.core.patience import within
from app.core.units import Seconds
from app.store.location import Location
from app.store.refusal import StoreRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# A whole check reads every page: 64 MiB take about 0.1 s.
_CHECKED_WHOLE = 64 * 2**20
_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class DatabaseOptions(BaseModel, frozen=True, extra="forbid"):
    """`timeout` bounds connecting and every short transaction, `lock` the wait for SQLite's write lock."""

    timeout: Seconds = 2.0
    lock: Seconds = 1.0
    connections: int = Field(default=10, gt=0)


class Database:
    """Readers never wait for writers; on SQLite writers queue on one connection and lock before they read.

    Whatever the driver raises becomes StorageUnavailable, but for IntegrityError: that is an answer.
    """

    def __init__(self, url: str, options: DatabaseOptions | None = None, *, create: bool = False) -> None:
        self.options = options or DatabaseOptions()
        self.location = Location(url)
        self._failures: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
        if self.location.dialect == "sqlite":
            self._reader = self._sqlite("DEFERRED", self.options.connections, create)
            self._writer = self._sqlite("IMMEDIATE", 1, create)
        else:
            self._reader = self._writer = self._postgresql()

    @property
    def dialect(self) -> str:
        return self.location.dialect

    @property
    def path(self) -> Path | None:
        """The SQLite file, None on PostgreSQL."""
        return self.location.path

    async def connect(self) -> None:
        """Raises StoreRefusal when there is no usable database; never creates one."""
        if self.path is not None and not self.path.exists():
            raise StoreRefusal(f"There is no database at {self.path}; `sluice migrate` creates it.")
        try:
            async with self.read() as connection:
                await connection.execute(text("SELECT 1"))
                if self.path is not None:
                    await self._check(connection, self.path)
        except StorageUnavailable as error:
            raise StoreRefusal(
                f"The database {self.location} cannot be opened: {error.__cause__}."
            ) from error

    async def _check(self, connection: AsyncConnection, path: Path) -> None:
        """A damaged file is refused, never started with: it holds what was spent of every quota."""
        small = path.stat().st_size <= _CHECKED_WHOLE
        query = "PRAGMA quick_check(1)" if small else "SELECT 'ok' FROM (SELECT count(*) FROM sqlite_master)"
        verdict = await connection.scalar(text(query))
        if verdict != "ok":
            raise StoreRefusal(f"The database {path} is damaged ({verdict}); restore a backup.")

    @asynccontextmanager
    async def read(self, limit: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading, at most `limit` seconds long (default: the options' timeout)."""
        async with self._transaction(self._reader, limit) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, limit: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at its end, at most `limit` seconds long."""
        async with self._transaction(self._writer, limit) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine, limit: float | None) -> AsyncIterator[AsyncConnection]:
        try:
            async with within(limit or self.options.timeout), engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except self._failures as error:
            raise StorageUnavailable from error

    async def aclose(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()

    def __repr__(self) -> str:
        return f"<Database {self.location}>"

    def _sqlite(self, mode: str, connections: int, create: bool) -> AsyncEngine:
        query = {"mode": "rwc" if create else "rw", "uri": "true"}
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=self.location.file_uri, query=query),
            connect_args={"isolation_level": None, "timeout": self.options.lock},
            pool_size=connections,
            max_overflow=0,
            pool_timeout=self.options.timeout,
            json_serializer=_dumps,
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", partial(_begin, mode))
        return engine

    def _postgresql(self) -> AsyncEngine:
        from app.store.postgres import FAILURES, connect

        self._failures += FAILURES
        timeout = self.options.timeout
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(connect, self.location.dsn, timeout),
            pool_size=self.options.connections,
            max_overflow=0,
            pool_timeout=timeout,
            pool_pre_ping=True,
            json_serializer=_dumps,
        )


def _prepare_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin(mode: str, connection: Any) -> None:
    connection.exec_driver_sql(f"BEGIN {mode}")
