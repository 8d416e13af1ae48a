"""Migrations on real databases: they make exactly the tables we use, forth and back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from app.store import schema
from app.store.database import Database
from app.store.indexes import metadata
from app.store.migrate import current, head, migrate, prepare, require_current
from app.store.refusal import StoreRefusal
from app.store.rollups import Rollups
from tests.stores import opened, usage_row

pytest_plugins = ("tests.postgres",)


def differences(url):
    async def compare():
        database = Database(url)
        async with database.read() as connection:
            found = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
            )
        await database.aclose()
        return found

    return asyncio.run(compare())


def execute(url, statement):
    async def run():
        database = Database(url)
        async with database.write() as connection:
            await connection.execute(text(statement))
        await database.aclose()

    asyncio.run(run())


def test_the_migrations_make_exactly_the_tables(store_url):
    migrate(store_url)
    assert differences(store_url) == []
    assert current(store_url) == head()


async def test_a_database_is_up_to_date_when_it_has_been_migrated_and_not_before(store_url):
    assert not await schema.up_to_date(store_url)
    await asyncio.to_thread(migrate, store_url)
    assert await schema.up_to_date(store_url)
    await asyncio.to_thread(migrate, store_url, "base")
    assert not await schema.up_to_date(store_url)


def test_the_newest_migration_is_the_one_with_the_highest_number():
    assert schema.newest() == head()


def test_migrating_twice_is_migrating_once(store_url):
    migrate(store_url)
    migrate(store_url)
    assert current(store_url) == head()


def test_a_migration_can_be_taken_back_and_made_again(store_url):
    migrate(store_url)
    migrate(store_url, "base")
    assert current(store_url) is None
    migrate(store_url)
    assert differences(store_url) == []


def test_l17_a_schema_of_a_newer_release_is_left_alone_and_is_good_enough(store_url):
    migrate(store_url)
    execute(store_url, "UPDATE alembic_version SET version_num = '9999'")
    migrate(store_url)
    require_current(store_url)
    assert current(store_url) == "9999"


def test_an_unknown_revision_is_refused(store_url):
    with pytest.raises(StoreRefusal, match="no such schema revision: 4711"):
        migrate(store_url, "4711")


def test_a_gateway_does_not_start_on_an_older_schema_of_postgresql(postgres_url):
    with pytest.raises(StoreRefusal, match="sluice migrate"):
        prepare(postgres_url)
    migrate(postgres_url)
    prepare(postgres_url)


def test_a_gateway_migrates_sqlite_by_itself(tmp_path):
    url = f"sqlite:///{tmp_path}/folder/sluice.db"
    prepare(url)
    assert current(url) == head()


def test_two_gateways_that_start_at_once_migrate_once(store_url):
    async def both():
        await asyncio.gather(asyncio.to_thread(migrate, store_url), asyncio.to_thread(migrate, store_url))

    asyncio.run(both())
    assert differences(store_url) == []


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    path = Path(tmp_path / "sluice.db")
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreRefusal, match="cannot be migrated"):
        migrate(f"sqlite:///{path}")
    assert path.read_bytes() == b"not a database" * 100


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path):
    path = tmp_path / "sluice.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE meta (x)")
    database.close()
    with pytest.raises(StoreRefusal):
        migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    database.close()
    assert tables == ["meta"]


def test_an_installed_package_finds_its_own_migrations(tmp_path, monkeypatch):
    package = tmp_path / "app" / "store"
    shutil.copytree(schema.scripts(), package / "alembic")
    monkeypatch.setattr(schema, "__file__", str(package / "schema.py"))
    url = f"sqlite:///{tmp_path}/sluice.db"
    migrate(url)
    assert current(url) == head()


def test_l17_rows_of_the_former_schema_are_summed_up_and_survive_the_way_back(store_url):
    migrate(store_url, "0001")

    async def fill_as_before(name):
        async with opened(store_url, migrated=False) as stores:
            await stores.rows.write([usage_row(name), usage_row(f"{name}-open", state="open")])

    async def summed():
        async with opened(store_url, migrated=False) as stores:
            found = [(await stores.reports.summary())[0]["requests"]]
            await Rollups(stores.database).reach(usage_row("a").started_at + 1)
            return [*found, (await stores.reports.summary())[0]["requests"]]

    asyncio.run(fill_as_before("a"))
    migrate(store_url)
    assert asyncio.run(summed()) == [1, 1]
    asyncio.run(fill_as_before("b"))
    assert asyncio.run(summed()) == [2, 2]
    migrate(store_url, "0001")
    asyncio.run(fill_as_before("c"))
    migrate(store_url)
    assert differences(store_url) == []
    assert asyncio.run(summed()) == [3, 3]
