"""A local file that keeps ledger rows until the store has them."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from app.core.errors import StorageUnavailable
from app.store.location import Location
from app.store.refusal import StoreRefusal
from app.store.sqlite import SqliteThread
from app.store.usage import COLUMNS, UsageRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER NOT NULL, content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS more AFTER INSERT ON batches BEGIN UPDATE held SET size = size + NEW.size; END;
CREATE TRIGGER IF NOT EXISTS less AFTER DELETE ON batches BEGIN UPDATE held SET size = size - OLD.size; END;
"""
_FIRST_SUM = "INSERT OR IGNORE INTO held SELECT 1, coalesce(sum(size), 0) FROM batches"
_FEWEST_PAGES = 16
_LOCK = 2.0


class Held(NamedTuple):
    """The oldest rows of a journal; `last` names the newest batch they come from."""

    last: int
    rows: list[UsageRow]


class Journal:
    """A batch is one record, on the disk when `write` returns; the file never grows over `max_bytes`.

    Rows stay until they are forgotten, over restarts and releases: each batch names its columns. Several
    processes may share one file. `backlog` is how many rows it held when this process last looked, whoever
    wrote them.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.backlog = 0
        self.full = False
        self._path = path
        self._max_bytes = max_bytes
        self._thread = SqliteThread(
            Location(f"sqlite:///{path}"), lock=_LOCK, prepare=self._prepare, create=True
        )

    async def open(self) -> None:
        """Raises StoreRefusal when there can be no journal, or the one there is cannot be read."""
        try:
            await self._thread.run(_check)
            self.backlog = await self._thread.run(_held)
        except StorageUnavailable as error:
            await self.aclose()
            raise StoreRefusal(f"The journal {self._path} cannot be used: {error.__cause__}.") from error

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """Raises StorageUnavailable; `full` is true afterwards when there was no room."""

        def insert(connection: sqlite3.Connection) -> int:
            content = msgspec.msgpack.encode((COLUMNS, rows))
            connection.execute("INSERT INTO batches (size, content) VALUES (?, ?)", (len(rows), content))
            return _held(connection)

        try:
            self.backlog = await self._thread.run(insert)
        except StorageUnavailable as error:
            self.full = getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise
        self.full = False

    async def oldest(self, most: int) -> Held | None:
        """Whole batches, as many as make about `most` rows; None when there are none."""
        batches, self.backlog = await self._thread.run(lambda connection: _read(connection, most))
        rows = [row for _, some in batches for row in some]
        return Held(batches[-1][0], rows) if batches else None

    async def forget(self, held: Held) -> None:
        """The store has these. Not synced: a crash brings them back, and writing them again changes nothing."""

        def delete(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("DELETE FROM batches WHERE id <= ?", (held.last,))
            connection.execute("PRAGMA synchronous=FULL")
            return _held(connection)

        self.backlog = await self._thread.run(delete)
        self.full = False

    async def aclose(self) -> None:
        await self._thread.aclose()

    def __repr__(self) -> str:
        return f"<Journal {self._path} backlog={self.backlog} full={self.full}>"

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_TABLES)
        if connection.execute("SELECT size FROM held").fetchone() is None:
            connection.execute(_FIRST_SUM)
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={max(_FEWEST_PAGES, self._max_bytes // page)}")


def _check(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"it is damaged ({verdict})")


def _held(connection: sqlite3.Connection) -> int:
    """Rows of all the processes that share the file."""
    return int(connection.execute("SELECT size FROM held").fetchone()[0])


def _read(connection: sqlite3.Connection, most: int) -> tuple[list[tuple[int, list[UsageRow]]], int]:
    """Batches by age, and how many rows there are in all."""
    batches: list[tuple[int, list[UsageRow]]] = []
    found = 0
    cursor = connection.execute("SELECT id, content FROM batches ORDER BY id")
    for number, content in cursor:
        rows = _decode(content)
        batches.append((number, rows))
        found += len(rows)
        if found >= most:
            break
    cursor.close()
    return batches, _held(connection)


def _decode(content: bytes) -> list[UsageRow]:
    """Columns that this release does not know are left out; a new one needs a default to be read back."""
    columns, rows = msgspec.msgpack.decode(content)
    known = [(place, name) for place, name in enumerate(columns) if name in UsageRow._fields]
    return [UsageRow(**{name: row[place] for place, name in known}) for row in rows]
