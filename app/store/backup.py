"""One file that holds a SQLite database and its secret: a tar with `sluice.db` and `sluice.secret`.

Taken from a database in use; a copy of either half alone would be worth nothing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from app.store.location import Location
from app.store.refusal import StoreRefusal

_DATABASE = "sluice.db"
_SECRET = "sluice.secret"  # noqa: S105  the name of a file


def backup(url: str, file: Path) -> None:
    """Call it where no event loop runs. A file of that name is replaced, at once and whole (0600)."""
    source = _sqlite(url)
    if not source.exists():
        raise StoreRefusal(f"There is no database at {source}.")
    secret = Location(url).secret_path
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".sluice-") as folder:
        copy = Path(folder) / _DATABASE
        try:
            with closing(_open(source)) as database, closing(sqlite3.connect(copy)) as target:
                database.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
            _sound(copy)
        except sqlite3.DatabaseError as error:
            raise StoreRefusal(f"The database {source} cannot be read: {error}.") from error
        bundle = Path(folder) / "bundle"
        with os.fdopen(os.open(bundle, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                tar.add(copy, _DATABASE)
                if secret is not None and secret.exists():
                    tar.add(secret, _SECRET)
            stream.flush()
            os.fsync(stream.fileno())
        bundle.replace(file)


def restore(url: str, file: Path, *, replace: bool = False) -> None:
    """Puts a backup in place of a missing database, or of a present one that nobody uses if `replace`.

    Call it where no event loop runs. Raises StoreRefusal; then everything is as before.
    """
    target = _sqlite(url)
    secret = Location(url).secret_path or target
    if target.exists():
        if not replace:
            raise StoreRefusal(f"There is a database at {target} already; say --replace to give it up.")
        _unused(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sluice-") as folder:
        _unpack(file, Path(folder))
        _sound(Path(folder) / _DATABASE)
        for leftover in (f"{target}-wal", f"{target}-shm"):
            Path(leftover).unlink(missing_ok=True)
        if (Path(folder) / _SECRET).exists():
            (Path(folder) / _SECRET).replace(secret)
        (Path(folder) / _DATABASE).replace(target)


def _unpack(file: Path, folder: Path) -> None:
    try:
        with tarfile.open(file) as tar:
            for name in (_DATABASE, _SECRET):
                member = tar.getmember(name) if name in tar.getnames() else None
                stream = tar.extractfile(member) if member is not None else None
                if stream is None and name == _DATABASE:
                    raise StoreRefusal(f"{file} is not a backup: it holds no {_DATABASE}.")
                if stream is not None:
                    place = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(place, "wb") as copy:
                        shutil.copyfileobj(stream, copy)
    except (OSError, tarfile.TarError) as error:
        raise StoreRefusal(f"The backup {file} cannot be read: {error}.") from error


def _sqlite(url: str) -> Path:
    path = Location(url).path
    if path is None:
        raise StoreRefusal("This works on SQLite; for PostgreSQL use pg_dump and keep SLUICE_SECRET.")
    return path


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{Location(f'sqlite:///{path}').file_uri}?mode=rw", uri=True, timeout=5.0)


def _sound(path: Path) -> None:
    try:
        with closing(_open(path)) as database:
            verdict = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise StoreRefusal(f"The database is damaged: {verdict}.")


def _unused(path: Path) -> None:
    """Leaving the write-ahead log needs the file for oneself."""
    try:
        with closing(_open(path)) as database:
            database.execute("PRAGMA busy_timeout=0")
            database.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise StoreRefusal(f"The database {path} is in use: stop the gateway first.") from error
    except sqlite3.DatabaseError:
        return
