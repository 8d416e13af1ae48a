from __future__ import annotations

import asyncio
import signal

import pytest

from app.server.watchdog import DUMP
from app.server.workers.hangs import BEAT, end_hung
from tests.clock import FakeClock

AFTER = 30.0


class Worker:
    def __init__(self, seat):
        self.seat, self.pid, self.silent, self.signals = seat, 100 + seat, 0.0, []

    def signal(self, number):
        self.signals.append(number)


class Crew:
    def __init__(self):
        self.ready = [Worker(0), Worker(1)]
        self.leaving = False


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def crew(clock):
    crew = Crew()
    watching = asyncio.create_task(end_hung(crew, AFTER, clock))
    yield crew
    watching.cancel()
    await asyncio.wait({watching})


async def silence(clock, crew, seconds, talking=()):
    for _ in range(int(seconds / BEAT)):
        await clock.run(BEAT)
        for seat in talking:
            crew.ready[seat].silent = 0.0


async def test_a_silent_worker_writes_its_stacks_and_is_killed_and_the_other_lives(clock, crew):
    await silence(clock, crew, AFTER, talking=[1])
    assert [worker.signals for worker in crew.ready] == [[], []]
    await clock.run(BEAT)
    assert [worker.signals for worker in crew.ready] == [[DUMP], []]
    await clock.run(1)
    assert [worker.signals for worker in crew.ready] == [[DUMP, signal.SIGKILL], []]


async def test_a_worker_that_speaks_at_the_last_moment_lives(clock, crew):
    await silence(clock, crew, AFTER + BEAT, talking=[1])
    crew.ready[0].silent = 0.0
    await clock.run(1)
    assert crew.ready[0].signals == [DUMP]


async def test_a_supervisor_that_was_suspended_blames_nobody(clock, crew):
    clock.advance(3600)
    await clock.run(2)
    assert [worker.signals for worker in crew.ready] == [[], []]


async def test_workers_that_leave_are_the_crews_affair(clock, crew):
    crew.leaving = True
    await silence(clock, crew, 2 * AFTER)
    assert [worker.signals for worker in crew.ready] == [[], []]
