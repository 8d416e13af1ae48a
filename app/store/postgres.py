"""PostgreSQL's own driver: its connections, its failures, and the ledger's way to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from app.core.errors import StorageUnavailable
from app.core.patience import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.store.database import DatabaseOptions
    from app.store.location import Location


# The last of the driver's is what a connection says that the server closed under a statement.
FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def connect(dsn: str, timeout: Any) -> asyncpg.Connection:
    """`timeout` in seconds; the driver's own annotation knows whole ones only."""
    return await asyncpg.connect(dsn, timeout=timeout)


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
        except FAILURES as error:
            self._drop()
            raise StorageUnavailable from error
        except BaseException:
            self._drop()
            raise

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):
                await connection.close(timeout=self._timeout)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
