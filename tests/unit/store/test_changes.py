"""Who hears of a change, and when."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.core.errors import StorageUnavailable
from app.store.changes import INTERVAL, stamp
from tests.stores import opened


@pytest.fixture
async def stores(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/sluice.db") as stores:
        yield stores


async def bump(stores, topic):
    async with stores.database.write() as connection:
        return await stamp(connection, topic)


async def wait_until(true):
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_versions_count_up_each_topic_for_itself(stores):
    assert [await bump(stores, "tenants"), await bump(stores, "tenants"), await bump(stores, "fleet")] == [
        1,
        2,
        1,
    ]


async def test_a_subscriber_hears_at_the_first_look_and_at_every_change_of_its_topic(stores):
    heard = []

    async def hear():
        heard.append(stores.clock.now)

    stores.changes.subscribe("tenants", hear)
    await stores.changes.look()
    await stores.changes.look()
    assert len(heard) == 1
    await bump(stores, "fleet")
    await stores.changes.look()
    assert len(heard) == 1
    await bump(stores, "tenants")
    await stores.changes.look()
    assert len(heard) == 2


async def test_a_subscriber_that_failed_hears_again(stores):
    heard = []

    async def hear():
        heard.append(1)
        if len(heard) == 1:
            raise StorageUnavailable

    stores.changes.subscribe("tenants", hear)
    stores.clock.advance(9)
    with pytest.raises(StorageUnavailable):
        await stores.changes.look()
    assert stores.changes.confirmed == stores.clock.now - 9
    await stores.changes.look()
    assert len(heard) == 2
    assert stores.changes.confirmed == stores.clock.now


async def test_the_watch_hears_of_others_and_survives_an_outage(stores, monkeypatch, caplog):
    heard = []

    async def hear():
        heard.append(1)

    stores.changes.subscribe("tenants", hear)
    look, failure = stores.changes.look, None

    async def sometimes():
        if failure is not None:
            raise failure
        await look()

    monkeypatch.setattr(stores.changes, "look", sometimes)
    with caplog.at_level(logging.WARNING):
        stores.changes.start()
        await wait_until(lambda: heard)
        failure = StorageUnavailable()
        await stores.clock.run(INTERVAL)
        assert not stores.changes.reachable
        failure = RuntimeError("a bug")
        await stores.clock.run(INTERVAL)
        failure = None
        await bump(stores, "tenants")
        await stores.clock.run(INTERVAL)
        await wait_until(lambda: len(heard) == 2 and stores.changes.reachable)
    assert "the store is out of reach" in caplog.messages
    assert "the store is reachable again" in caplog.messages
    await stores.changes.aclose()
