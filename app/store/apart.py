"""Migrates a SQLite database in a process of its own: a gateway keeps in memory whatever it has ever loaded."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, suppress

from app.store.location import Location
from app.store.schema import newest


def prepare_apart(url: str) -> None:
    """Call it before any thread runs, with which a process is not to be forked: nothing is done then.

    Nothing is told of a failure either: whoever opens the database meets it again. Raises StoreRefusal for a
    URL that is none.
    """
    location = Location(url)
    if location.path is None or threading.active_count() > 1 or _current(location):
        return
    child = os.fork()
    if child == 0:
        try:
            from app.store.migrate import prepare

            prepare(url)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _current(location: Location) -> bool:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{location.file_uri}?mode=rw", uri=True)) as connection,
    ):
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return bool(row == (newest(),))
    return False
