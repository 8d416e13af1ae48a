"""Transactions with a limit, failures in our words."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from app.core.errors import StorageUnavailable
from app.store.batch import SqliteBatch
from app.store.database import Database, DatabaseOptions
from app.store.location import Location
from app.store.migrate import migrate
from app.store.refusal import StoreRefusal
from app.store.tables import meta


@pytest.fixture
async def database(tmp_path):
    url = f"sqlite:///{tmp_path}/sluice.db"
    await asyncio.to_thread(migrate, url)
    database = Database(url, DatabaseOptions(timeout=0.5, lock=0.05))
    yield database
    await database.aclose()


async def test_sqlite_is_durable_concurrent_and_strict(database):
    async with database.write() as connection:
        pragmas = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_failed_transaction_leaves_nothing(database):
    with pytest.raises(ValueError, match="stop"):
        async with database.write() as connection:
            await connection.execute(insert(meta).values(name="a", value="b"))
            raise ValueError("stop")
    async with database.read() as connection:
        assert (await connection.execute(select(meta))).all() == []


async def test_a_broken_rule_is_an_answer_and_no_outage(database):
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(insert(meta).values([{"name": "a", "value": "b"}] * 2))


async def test_readers_do_not_wait_for_a_writer(database):
    async with database.write() as writing:
        await writing.execute(insert(meta).values(name="a", value="b"))
        async with database.read() as connection:
            assert (await connection.execute(select(meta))).all() == []


async def test_writers_queue(database):
    async def write(number):
        async with database.write(limit=60.0) as connection:
            await connection.execute(insert(meta).values(name=str(number), value=""))

    await asyncio.gather(*(write(number) for number in range(20)))
    async with database.read() as connection:
        assert len((await connection.execute(select(meta))).all()) == 20


async def test_a_lock_held_by_another_process_is_an_outage_that_ends(database):
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        async with database.write():
            pass
    async with database.read() as connection:
        await connection.execute(select(meta))
    other.execute("ROLLBACK")
    other.close()
    async with database.write() as connection:
        await connection.execute(insert(meta).values(name="a", value="b"))


async def test_a_transaction_has_a_limit(database):
    with pytest.raises(StorageUnavailable):
        async with database.read(limit=0.01):
            await asyncio.Event().wait()
    async with database.read() as connection:
        await connection.execute(select(meta))


async def test_a_missing_database_is_refused_and_not_made(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/none.db")
    threads = threading.active_count()
    with pytest.raises(StoreRefusal, match="sluice migrate"):
        await database.connect()
    with pytest.raises(StorageUnavailable):
        async with database.read():
            pass
    while threading.active_count() > threads:
        await asyncio.sleep(0)
    await database.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_database_is_refused(database, tmp_path):
    async with database.write() as connection:
        values = [{"name": str(n), "value": "x" * 500} for n in range(500)]
        await connection.execute(insert(meta).values(values))
        await connection.execute(text("DROP TABLE audit"))
    await database.aclose()
    content = bytearray(database.path.read_bytes())
    for position in range(8192, len(content) - 4096, 4096):
        content[position : position + 64] = bytes(64)
    (tmp_path / "damaged.db").write_bytes(content)
    damaged = Database(f"sqlite:///{tmp_path}/damaged.db")
    with pytest.raises(StoreRefusal):
        await damaged.connect()
    await damaged.aclose()


async def test_a_sound_database_is_connected(database):
    await database.connect()
    assert repr(database) == f"<Database sqlite:///{database.path}>"
    assert database.dialect == "sqlite"


async def test_an_unreachable_server_is_refused_without_its_password():
    database = Database("postgresql://me:pa55@127.0.0.1:1/none")
    with pytest.raises(StoreRefusal) as refused:
        await database.connect()
    assert "pa55" not in str(refused.value)
    assert "pa55" not in repr(database)
    await database.aclose()


STATEMENT = "INSERT INTO meta (name, value) VALUES (?, ?)"


async def test_a_batch_is_all_or_nothing_and_recovers(database):
    batch = SqliteBatch(Location(f"sqlite:///{database.path}"), database.options)
    await batch.run(STATEMENT, [("a", ""), ("b", "")])
    with pytest.raises(StorageUnavailable):
        await batch.run(STATEMENT, [("c", ""), ("a", "")])
    with pytest.raises(StorageUnavailable):
        await batch.run(STATEMENT, [("c", ""), (10**40, "")])
    await batch.run(STATEMENT, [("d", "")])
    await batch.aclose()
    async with database.read() as connection:
        assert sorted((await connection.scalars(select(meta.c.name))).all()) == ["a", "b", "d"]


async def test_a_batch_never_makes_a_database(tmp_path):
    batch = SqliteBatch(Location(f"sqlite:///{tmp_path}/none.db"), DatabaseOptions())
    with pytest.raises(StorageUnavailable):
        await batch.run(STATEMENT, [("a", "")])
    await batch.aclose()
    assert list(tmp_path.iterdir()) == []
