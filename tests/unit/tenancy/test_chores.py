"""Chores are done on time, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import logging

from app.core.errors import StorageUnavailable
from app.tenancy.chores import Chore, Chores
from tests.clock import FakeClock


class Work:
    def __init__(self):
        self.done, self.failure, self.stuck = 0, None, None

    async def __call__(self):
        if self.failure is not None:
            raise self.failure
        self.done += 1
        if self.stuck is not None:
            await self.stuck.wait()


async def test_each_is_done_at_its_own_pace_and_waits_for_no_other():
    clock, often, seldom = FakeClock(), Work(), Work()
    seldom.stuck = asyncio.Event()
    chores = Chores(clock, [Chore("often", 10, often), Chore("seldom", 60, seldom)])
    chores.start()
    await clock.run(9)
    assert (often.done, seldom.done) == (0, 0)
    await clock.run(171)
    assert (often.done, seldom.done) == (18, 1)
    await chores.aclose()
    await clock.run(100)
    assert often.done == 18


async def test_what_fails_is_tried_again_and_an_outage_is_told_once(caplog):
    clock, work = FakeClock(), Work()
    chores = Chores(clock, [Chore("a chore", 10, work)])
    chores.start()
    work.failure = StorageUnavailable()
    with caplog.at_level(logging.WARNING):
        await clock.run(30)
        work.failure = RuntimeError("a bug")
        await clock.run(10)
    assert caplog.text.count("has to wait") == 1
    assert caplog.text.count("a chore failed") == 1
    work.failure = None
    await clock.run(10)
    assert work.done == 1
    await chores.aclose()


async def test_it_can_be_closed_without_having_been_started():
    await Chores(FakeClock(), [Chore("a chore", 1, Work())]).aclose()
