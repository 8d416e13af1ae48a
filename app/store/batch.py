"""Writes many rows in one transaction with the bare drivers: the ledger's path, at a tenth of the price."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from app.core.errors import StorageUnavailable
from app.core.patience import within
from app.store.sqlite import SqliteThread

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Iterator, Sequence

    from app.store.database import DatabaseOptions
    from app.store.location import Location


# The last of the driver's is what a connection says that the server closed under a statement.
POSTGRES_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


_MARKS = re.compile(r"\(\?(?:, \?)*\)")
_PORTIONS = (128, 32, 8, 1)


class Batch(Protocol):
    """One write at a time with one connection, opened at the first and anew after a failure."""

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> Awaitable[None]:
        """All rows or none; raises StorageUnavailable."""
        ...

    async def aclose(self) -> None: ...


def batch(location: Location, options: DatabaseOptions) -> Batch:
    return SqliteBatch(location, options) if location.path else PostgresBatch(location, options)


async def connect(dsn: str, timeout: Any) -> asyncpg.Connection:
    """`timeout` in seconds; the driver's own annotation knows whole ones only."""
    return await asyncpg.connect(dsn, timeout=timeout)


class SqliteBatch:
    """A thread of its own: locks and disks never hold the event loop."""

    def __init__(self, location: Location, options: DatabaseOptions) -> None:
        self.thread = SqliteThread(location, lock=options.lock, prepare=_safe)

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> Awaitable[None]:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for text, values in _portions(statement, rows):
                connection.execute(text, values)
            connection.execute("COMMIT")

        return self.thread.run(write)

    async def aclose(self) -> None:
        await self.thread.aclose()


def _safe(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous=FULL")


def _portions(statement: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Statements of many rows each, in few sizes, which the driver keeps prepared.

    A thread asks for the interpreter's lock after every statement, and a busy event loop lets it wait
    up to 5 ms each time: row by row a batch would take as many of these.
    """
    marks = _MARKS.search(statement)
    if marks is None:
        raise ValueError("a statement to repeat has marks for one row")
    begin = 0
    for size in _PORTIONS:
        text = statement[: marks.start()] + ", ".join([marks[0]] * size) + statement[marks.end() :]
        while len(rows) - begin >= size:
            yield text, list(chain.from_iterable(rows[begin : begin + size]))
            begin += size


class PostgresBatch:
    """A connection of its own, so that reports can never keep the ledger waiting for one."""

    def __init__(self, location: Location, options: DatabaseOptions) -> None:
        self._dsn = location.dsn
        self._timeout = options.timeout
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            async with self._turn, within(self._timeout):
                connection = self._connection
                if connection is None or connection.is_closed():
                    connection = self._connection = await connect(self._dsn, self._timeout)
                await connection.executemany(statement, rows)
        except POSTGRES_FAILURES as error:
            self._drop()
            raise StorageUnavailable from error
        except BaseException:
            self._drop()
            raise

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*POSTGRES_FAILURES):
                await connection.close(timeout=self._timeout)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
