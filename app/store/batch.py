"""Writes many rows in one transaction with the bare drivers: the ledger's path, at a tenth of the price."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from app.store.sqlite import SqliteThread

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Iterator, Sequence

    from app.store.database import DatabaseOptions
    from app.store.location import Location


_MARKS = re.compile(r"\(\?(?:, \?)*\)")
_PORTIONS = (128, 32, 8, 1)


class Batch(Protocol):
    """One write at a time with one connection, opened at the first and anew after a failure."""

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> Awaitable[None]:
        """All rows or none; raises StorageUnavailable."""
        ...

    async def aclose(self) -> None: ...


def batch(location: Location, options: DatabaseOptions) -> Batch:
    """PostgreSQL's driver is loaded where it is used."""
    if location.path is not None:
        return SqliteBatch(location, options)
    from app.store.postgres import PostgresBatch

    return PostgresBatch(location, options)


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
