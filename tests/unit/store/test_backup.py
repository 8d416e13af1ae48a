"""One file that brings a gateway back: the database and its secret."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import tarfile

import pytest

from app.store.backup import backup, restore
from app.store.pepper import unlock
from app.store.refusal import StoreRefusal
from app.store.rollups import Rollups
from tests.stores import opened, usage_row


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/here/sluice.db"


async def names(url):
    async with opened(url, migrated=False) as stores:
        await unlock(stores.database)
        return [row.name for row in (await stores.tenants.page()).rows]


async def fill(url, file):
    """A database with one tenant, backed up while it is open; then a second tenant."""
    async with opened(url) as stores:
        await unlock(stores.database)
        await stores.tenants.create("before")
        await asyncio.to_thread(backup, url, file)
        stores.clock.advance(1)
        await stores.tenants.create("after")


async def test_a_database_in_use_is_backed_up_and_comes_back_elsewhere(url, tmp_path):
    file = tmp_path / "backup.tar"
    await fill(url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    elsewhere = f"sqlite:///{tmp_path}/there/sluice.db"
    await asyncio.to_thread(restore, elsewhere, file)
    assert await names(elsewhere) == ["before"]
    assert await names(url) == ["before", "after"]
    assert stat.S_IMODE((tmp_path / "there" / "sluice.secret").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "here", "there"]


async def test_a_present_database_is_replaced_only_on_demand(url, tmp_path):
    file = tmp_path / "backup.tar"
    await fill(url, file)
    with pytest.raises(StoreRefusal, match="already"):
        await asyncio.to_thread(restore, url, file)
    await asyncio.to_thread(restore, url, file, replace=True)
    assert await names(url) == ["before"]


async def test_a_database_in_use_is_not_replaced(url, tmp_path):
    file = tmp_path / "backup.tar"
    await fill(url, file)
    async with opened(url) as stores:
        async with stores.database.read():
            with pytest.raises(StoreRefusal, match="in use"):
                await asyncio.to_thread(restore, url, file, replace=True)
        assert len((await stores.tenants.page()).rows) == 2


async def test_a_damaged_database_may_be_replaced(url, tmp_path):
    file = tmp_path / "backup.tar"
    await fill(url, file)
    (tmp_path / "here" / "sluice.db").write_bytes(b"broken" * 1000)
    await asyncio.to_thread(restore, url, file, replace=True)
    assert await names(url) == ["before"]


def bundle(file, **members):
    with tarfile.open(file, "w") as tar:
        for name, source in members.items():
            tar.add(source, name.replace("_", "."))


def test_what_is_no_backup_is_refused_and_changes_nothing(url, tmp_path):
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk" * 500)
    with pytest.raises(StoreRefusal, match="cannot be read"):
        restore(url, junk)
    with pytest.raises(StoreRefusal, match="cannot be read"):
        restore(url, tmp_path / "nothing")
    bundle(tmp_path / "empty.tar", other=junk)
    with pytest.raises(StoreRefusal, match=r"holds no sluice\.db"):
        restore(url, tmp_path / "empty.tar")
    bundle(tmp_path / "damaged.tar", sluice_db=junk)
    with pytest.raises(StoreRefusal, match="damaged"):
        restore(url, tmp_path / "damaged.tar")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_backup_without_a_secret_file_leaves_the_present_one(url, tmp_path):
    with sqlite3.connect(tmp_path / "plain.db") as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    bundle(tmp_path / "plain.tar", sluice_db=tmp_path / "plain.db")
    restore(url, tmp_path / "plain.tar")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["sluice.db"]


async def test_a_secret_that_is_in_the_environment_is_not_in_the_backup(url, tmp_path):
    async with opened(url) as stores:
        await unlock(stores.database, "from the environment")
    await asyncio.to_thread(backup, url, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as tar:
        assert tar.getnames() == ["sluice.db"]


def test_only_a_present_sound_sqlite_database_is_backed_up(url, tmp_path):
    with pytest.raises(StoreRefusal, match="no database"):
        backup(url, tmp_path / "b.tar")
    with pytest.raises(StoreRefusal, match="pg_dump"):
        backup("postgresql://me@db/sluice", tmp_path / "b.tar")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "sluice.db").write_bytes(b"broken" * 1000)
    with pytest.raises(StoreRefusal, match="cannot be read"):
        backup(url, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


async def test_a_backup_under_load_is_of_one_moment_and_its_sums_are_right(url, tmp_path):
    elsewhere = f"sqlite:///{tmp_path}/there/sluice.db"
    done = asyncio.Event()

    async def write(stores):
        turn = 0
        while not done.is_set():
            moments = [1_795_000_000.0 + 97 * n for n in range(turn, turn + 20)]
            await stores.rows.write(
                [usage_row(f"{turn}-{n}", started_at=moment) for n, moment in enumerate(moments)]
            )
            turn += 1

    async def roll(stores):
        until = 1_795_000_000.0
        while not done.is_set():
            until += 100
            await Rollups(stores.database).roll(until)

    async with opened(url) as stores:
        await unlock(stores.database)
        working = [asyncio.create_task(work(stores)) for work in (write, roll)]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(backup, url, tmp_path / "backup.tar")
        done.set()
        await asyncio.gather(*working)
    await asyncio.to_thread(restore, elsewhere, tmp_path / "backup.tar")
    async with opened(elsewhere, migrated=False) as stores:
        rows = [row async for row in stores.reports.export()]
        (whole,) = await stores.reports.summary()
        assert whole["requests"] == len(rows) > 0
        await Rollups(stores.database).reach(1_796_000_000.0)
        assert (await stores.reports.summary())[0] == whole
        await stores.rows.write([*rows[:5], usage_row("after")])
        assert (await stores.reports.summary())[0]["requests"] == len(rows) + 1
