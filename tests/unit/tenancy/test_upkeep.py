"""The ledger is kept in order without anyone asking."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.core.errors import StorageUnavailable
from app.store.orphans import DEAD_AFTER, HEARTBEAT
from app.tenancy.upkeep import Upkeep
from tests.clock import FakeClock


class Orphans:
    def __init__(self):
        self.seen_at, self.closed, self.left, self.failure = 0, 0, 2, None

    async def seen(self):
        if self.failure is not None:
            raise self.failure
        self.seen_at += 1

    async def close(self):
        self.closed += 1
        left, self.left = self.left, 0
        return left

    async def gone(self):
        self.seen_at = None
        raise StorageUnavailable


@pytest.fixture
def parts():
    clock, orphans = FakeClock(), Orphans()
    return clock, orphans, Upkeep(orphans, clock)


async def test_what_a_crash_left_open_is_closed_before_the_start_is_over(parts, caplog):
    clock, orphans, upkeep = parts
    with caplog.at_level(logging.WARNING):
        await upkeep.start()
    assert "2 calls of a dead gateway" in caplog.text
    assert orphans.seen_at == 1
    await clock.run(HEARTBEAT * 3)
    assert orphans.seen_at == orphans.closed == 4
    await upkeep.aclose()
    assert orphans.seen_at is None


async def test_an_outage_or_a_bug_is_no_end_of_it(parts):
    clock, orphans, upkeep = parts
    await upkeep.start()
    for failure in (StorageUnavailable(), RuntimeError("a bug")):
        orphans.failure = failure
        await clock.run(HEARTBEAT)
    orphans.failure = None
    await clock.run(HEARTBEAT)
    assert orphans.seen_at == 2
    await upkeep.aclose()


async def test_after_an_outage_the_others_have_time_to_say_that_they_live(parts):
    clock, orphans, upkeep = parts
    await upkeep.start()
    orphans.failure = StorageUnavailable()
    await clock.run(HEARTBEAT)
    orphans.failure = None
    await clock.run(DEAD_AFTER - HEARTBEAT)
    assert (orphans.seen_at, orphans.closed) == (4, 1)
    await clock.run(HEARTBEAT)
    assert orphans.closed == 2
    await upkeep.aclose()


async def test_it_can_be_closed_without_having_been_started(parts):
    await asyncio.wait_for(parts[2].aclose(), 1)
