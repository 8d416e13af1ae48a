"""Gateways that start at one moment on a new PostgreSQL database agree on its secret."""

from __future__ import annotations

import asyncio

import pytest

from app.store import pepper
from app.store.pepper import unlock
from app.store.refusal import StoreRefusal
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.stores import opened


@pytest.fixture(params=["at once", "one after the other"])
def looked(request, monkeypatch):
    """The writes of those who have all looked before anybody wrote; call it with how many they are."""
    remember, turns = pepper._remember, []

    def of(count):
        last = asyncio.Event()
        free = asyncio.Semaphore(count if request.param == "at once" else 1)

        async def remembers(*each):
            turns.append(each)
            if len(turns) == count:
                last.set()
            await last.wait()
            async with free:
                await remember(*each)

        monkeypatch.setattr(pepper, "_remember", remembers)

    return of


async def test_those_who_start_at_once_agree(postgres_url, looked):  # noqa: F811
    async with opened(postgres_url) as stores:
        looked(5)
        secrets = await asyncio.gather(*(unlock(stores.database, "the secret") for _ in range(5)))
        assert len({each.fingerprint for each in secrets}) == 1


async def test_of_two_that_start_at_once_with_different_secrets_one_is_refused(postgres_url, looked):  # noqa: F811
    async with opened(postgres_url) as stores:
        looked(2)
        starts = (unlock(stores.database, "one secret"), unlock(stores.database, "another secret"))
        ends = await asyncio.gather(*starts, return_exceptions=True)
        assert sum(isinstance(end, StoreRefusal) for end in ends) == 1


async def test_of_two_rotations_at_once_one_is_refused(postgres_url, looked):  # noqa: F811
    async with opened(postgres_url) as stores:
        await unlock(stores.database, "old")
        looked(2)
        starts = (unlock(stores.database, "one", "old"), unlock(stores.database, "another", "old"))
        ends = await asyncio.gather(*starts, return_exceptions=True)
        assert sum(isinstance(end, StoreRefusal) for end in ends) == 1
