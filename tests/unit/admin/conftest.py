"""The desk, and a client of it who holds the admin's token."""

from __future__ import annotations

import shutil

import pytest

from app.store.migrate import migrate
from tests.unit.admin.desk import desk as make_desk


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("admin") / "sluice.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
async def desk(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "sluice.db")
    async with make_desk(tmp_path) as made:
        yield made


@pytest.fixture
async def admin(desk):
    async with desk.client() as client:
        yield client
