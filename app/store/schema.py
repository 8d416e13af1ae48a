"""Tells whether a database has this release's schema without loading the tools that change it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from app.core.errors import StorageUnavailable
from app.store.database import Database


def scripts() -> Path:
    """The migrations: in the package of an installed wheel, at the root of a clone."""
    here = Path(__file__).resolve()
    packaged = here.parent / "alembic"
    return packaged if packaged.is_dir() else here.parents[2] / "alembic"


def newest() -> str:
    """The newest revision this release knows; migrations are numbered in their order."""
    return max(path.name.partition("_")[0] for path in (scripts() / "versions").glob("[0-9]*.py"))


async def up_to_date(url: str) -> bool:
    """False also for a database that does not say."""
    database = Database(url)
    try:
        async with database.read() as connection:
            return bool(await connection.scalar(text("SELECT version_num FROM alembic_version")) == newest())
    except StorageUnavailable:
        return False
    finally:
        await database.aclose()
