"""Where a database is."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.store.location import Location
from app.store.refusal import StoreRefusal


def test_three_slashes_are_relative_and_four_absolute():
    assert Location("sqlite:///sluice.db").path == Path.cwd() / "sluice.db"
    assert Location("sqlite:////data/sluice.db").path == Path("/data/sluice.db")
    assert Location("sqlite:////data/sluice.db").secret_path == Path("/data/sluice.secret")
    assert Location("sqlite:////da ta/#1.db").file_uri == "file:/da%20ta/%231.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_postgresql_has_several_names(scheme):
    location = Location(f"{scheme}://me:pa55@db:5432/sluice")
    assert (location.dialect, location.path, location.secret_path) == ("postgresql", None, None)
    assert location.dsn == "postgresql://me:pa55@db:5432/sluice"


def test_no_password_is_ever_printed():
    assert str(Location("postgresql://me:pa55@db/sluice?sslpassword=pa55")) == "postgresql://me:***@db/sluice"
    assert str(Location("postgresql://me@db/sluice")) == "postgresql://me@db/sluice"
    assert str(Location("postgresql://db/sluice")) == "postgresql://db/sluice"
    assert str(Location("sqlite:////data/sluice.db")) == "sqlite:////data/sluice.db"


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql://x/y", "sluice.db", "postgresql://"])
def test_anything_else_is_refused(url):
    with pytest.raises(StoreRefusal, match="SLUICE_DATABASE_URL"):
        Location(url)
