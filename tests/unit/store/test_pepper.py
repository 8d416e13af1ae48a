"""The secret of a database: found, made once, or missed."""

from __future__ import annotations

import asyncio
import stat

import pytest

from app.store.pepper import Pepper, sha256, unlock
from app.store.refusal import StoreRefusal
from tests.stores import opened


@pytest.fixture
async def database(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/sluice.db") as stores:
        yield stores.database


def test_the_same_secret_under_another_pepper_is_another_digest():
    digests = {Pepper(pepper).digest(sha256(secret)) for pepper in ("p", "q") for secret in ("s", "t")}
    assert len(digests) == 4
    assert Pepper("q", "p").previous_digest(sha256("s")) == Pepper("p").digest(sha256("s"))
    assert Pepper("q").previous_digest(sha256("s")) is None
    assert Pepper("q").previous_fingerprint is None


async def test_a_missing_secret_is_made_for_its_owner_alone(database, tmp_path):
    made = await unlock(database)
    file = tmp_path / "sluice.secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().strip()) == 43
    assert (await unlock(database)).fingerprint == made.fingerprint


async def test_two_that_start_at_once_agree(database, tmp_path):
    first, second = await asyncio.gather(unlock(database), unlock(database))
    assert first.fingerprint == second.fingerprint
    assert sorted(path.name for path in tmp_path.glob("*.secret*")) == ["sluice.secret"]


async def test_a_lost_secret_is_not_replaced(database, tmp_path):
    await unlock(database)
    (tmp_path / "sluice.secret").unlink()
    with pytest.raises(StoreRefusal, match="missing"):
        await unlock(database)
    assert not (tmp_path / "sluice.secret").exists()


async def test_another_secret_is_refused(database):
    await unlock(database, "the right secret")
    with pytest.raises(StoreRefusal, match="SLUICE_SECRET_PREVIOUS") as refused:
        await unlock(database, "another secret")
    assert "another secret" not in str(refused.value)
    await unlock(database, "the right secret")


async def test_a_secret_is_rotated_with_the_previous_one_at_hand(database):
    await unlock(database, "old")
    pepper = await unlock(database, "new", "old")
    assert pepper.previous_fingerprint == Pepper("old").fingerprint
    await unlock(database, "new")
    with pytest.raises(StoreRefusal):
        await unlock(database, "old")


async def test_an_unreadable_secret_file_is_said_so(database, tmp_path):
    (tmp_path / "sluice.secret").mkdir()
    with pytest.raises(StoreRefusal, match="cannot be read"):
        await unlock(database)


async def test_postgresql_needs_a_secret_of_its_own(database, monkeypatch):
    monkeypatch.setattr(database.location, "path", None)
    with pytest.raises(StoreRefusal, match="SLUICE_SECRET must be set"):
        await unlock(database)


async def test_a_secret_made_by_another_at_the_same_moment_is_used(database, tmp_path, monkeypatch):
    def late(draft, file):
        file.write_text("made by another")
        raise FileExistsError

    monkeypatch.setattr("app.store.pepper.os.link", late)
    assert (await unlock(database)).fingerprint == Pepper("made by another").fingerprint
    assert [path.name for path in tmp_path.glob("*.secret*")] == ["sluice.secret"]
