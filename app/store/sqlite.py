"""One SQLite connection in a thread of its own: locks and disks never hold the event loop."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.core.errors import StorageUnavailable
from app.store.serial import SerialThread

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from app.store.location import Location

T = TypeVar("T")


class SqliteThread:
    """Opened at the first use, anew after a failure, and anew when another file has taken the path.

    A file that was deleted would go on taking commits that nobody can read again. `lock` seconds are
    waited for other writers; `prepare` is called with each new connection. `create` makes a missing file.
    """

    def __init__(
        self,
        location: Location,
        *,
        lock: float,
        prepare: Callable[[sqlite3.Connection], object],
        create: bool = False,
    ) -> None:
        self._path = Path(str(location.path))
        self._uri = f"{location.file_uri}?mode={'rwc' if create else 'rw'}"
        self._lock = lock
        self._prepare = prepare
        self._thread = SerialThread("sluice-sqlite")
        self._file: tuple[int, int] | None = None
        self.connection: sqlite3.Connection | None = None

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """What `work` returns; raises StorageUnavailable. `work` begins and commits its transaction."""
        return self._thread.run(partial(self._run, work))

    async def aclose(self) -> None:
        await self._thread.run(self._close)
        self._thread.end()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self.connection
            if connection is None or self._file != self._found():
                self._close()
                connection = self._open()
            return work(connection)
        except (sqlite3.Error, OSError, OverflowError) as error:
            self._close()
            raise StorageUnavailable from error
        except BaseException:
            self._close()
            raise

    def _open(self) -> sqlite3.Connection:
        connection = self.connection = sqlite3.connect(
            self._uri, uri=True, timeout=self._lock, isolation_level=None, check_same_thread=False
        )
        self._prepare(connection)
        self._file = self._found()
        return connection

    def _found(self) -> tuple[int, int] | None:
        """What the path leads to at present."""
        with suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None

    def _close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
