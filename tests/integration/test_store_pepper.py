"""Gateways that start at one moment on a new PostgreSQL database agree on its secret."""

from __future__ import annotations

import asyncio

import pytest

from app.store.pepper import unlock
from app.store.refusal import StoreRefusal
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.stores import opened


async def test_those_who_start_at_once_agree(postgres_url):  # noqa: F811
    async with opened(postgres_url) as stores:
        secrets = await asyncio.gather(*(unlock(stores.database, "the secret") for _ in range(5)))
        assert len({each.fingerprint for each in secrets}) == 1


async def test_of_two_that_start_at_once_with_different_secrets_one_is_refused(postgres_url):  # noqa: F811
    async with opened(postgres_url) as stores:
        starts = (unlock(stores.database, "one secret"), unlock(stores.database, "another secret"))
        ends = await asyncio.gather(*starts, return_exceptions=True)
        assert sum(isinstance(end, StoreRefusal) for end in ends) == 1


@pytest.fixture(autouse=True)
def together(monkeypatch):
    """All have looked before anybody writes."""
    from app.store import pepper

    remember, waiting = pepper._remember, asyncio.Event()
    counted = []

    async def remembers(database, one):
        counted.append(one)
        asyncio.get_running_loop().call_later(0.1, waiting.set)
        await waiting.wait()
        await remember(database, one)

    monkeypatch.setattr(pepper, "_remember", remembers)
