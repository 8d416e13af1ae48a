from __future__ import annotations

import asyncio
import signal

import pytest

from app.server.workers.crew import LAST_WORDS, LONGEST_PAUSE, STEADY, Crew
from tests.clock import FakeClock, settle


class Worker:
    """Ends when a test says so; leaves well at SIGTERM unless it is deaf."""

    def __init__(self, seat, born, deaf=False):
        self.seat, self.born, self.pid, self.ready, self.deaf = seat, born, 1, False, deaf
        self.signals = []
        self.channel = self
        self.told = []
        self._ready, self._end = asyncio.Event(), asyncio.get_running_loop().create_future()

    def send(self, message):
        self.told.append(message)

    def begin(self):
        self.ready = True
        self._ready.set()

    def end(self, code):
        self.ready = False
        self._ready.set()
        if not self._end.done():
            self._end.set_result(code)

    async def begun(self):
        await self._ready.wait()
        return self.ready

    async def hear(self, heard):
        return await self._end

    def signal(self, number):
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.end(137)
        elif not self.deaf:
            self.end(0 if self.ready else 143)


class Office:
    def __init__(self, count=2, deaf=False):
        self.clock = FakeClock()
        self.hired = []
        self.deaf = deaf
        self.trouble = None
        self.crew = Crew(count, self.hire, lambda worker, message: None, self.clock)

    async def hire(self, seat):
        if self.trouble is not None:
            raise self.trouble
        self.hired.append(Worker(seat, self.clock.now, self.deaf))
        return self.hired[-1]

    async def begin(self):
        start = asyncio.create_task(self.crew.start())
        await settle()
        self.hired[0].begin()
        assert await start
        await settle()
        for worker in self.hired[1:]:
            worker.begin()
        await settle()


@pytest.fixture
async def office():
    office = Office()
    await office.begin()
    yield office
    office.crew.leave(0)
    async with asyncio.timeout(5):
        await office.crew.gone()


async def test_the_others_follow_once_the_first_is_ready():
    office = Office(3)
    starting = asyncio.create_task(office.crew.start())
    await settle()
    assert [worker.seat for worker in office.hired] == [0]
    office.hired[0].begin()
    assert await starting
    await settle()
    assert [worker.seat for worker in office.hired] == [0, 1, 2]
    office.crew.leave(0)
    assert await office.crew.gone() == 0


async def test_a_first_worker_that_cannot_start_is_not_tried_again():
    office = Office()
    starting = asyncio.create_task(office.crew.start())
    await settle()
    office.hired[0].end(1)
    assert not await starting
    assert await office.crew.gone() == 1
    assert len(office.hired) == 1


async def test_a_dead_worker_is_replaced_at_once_and_then_ever_more_slowly(office):
    for pause in (0, 1, 2, 4, 8, 16, 30, 30):
        before = len(office.hired)
        office.hired[-1].begin()
        office.hired[-1].end(137)
        await office.clock.run(max(0, pause - 0.01))
        assert len(office.hired) == before + (0 if pause else 1)
        await office.clock.run(0.01)
        assert len(office.hired) == before + 1
    assert {worker.seat for worker in office.hired[2:]} == {1}
    assert office.hired[0].signals == []


async def test_a_worker_that_lived_long_is_replaced_at_once_again(office):
    office.hired[-1].end(137)
    await office.clock.run(0)
    office.hired[-1].begin()
    await office.clock.run(STEADY)
    before = len(office.hired)
    office.hired[-1].end(137)
    await office.clock.run(0)
    assert len(office.hired) == before + 1


async def test_only_ready_workers_are_counted_and_all_alive_are_told(office):
    office.hired[1].end(1)
    await office.clock.run(0)
    assert [worker.seat for worker in office.crew.ready] == [0]
    office.crew.tell("news")
    assert [worker.told for worker in office.hired] == [["news"], [], ["news"]]


async def test_nobody_is_replaced_while_all_leave_and_the_worst_code_counts():
    office = Office(deaf=True)
    await office.begin()
    office.crew.leave(5)
    office.hired[0].end(0)
    office.hired[1].end(7)
    assert await office.crew.gone() == 7
    assert len(office.hired) == 2


async def test_a_pause_before_a_replacement_ends_when_all_leave(office):
    for _ in range(2):
        office.hired[-1].end(1)
        await office.clock.run(0)
    office.crew.leave(0)
    async with asyncio.timeout(5):
        assert await office.crew.gone() == 0


async def test_a_worker_that_does_not_end_is_killed():
    office = Office(deaf=True)
    await office.begin()
    office.crew.leave(5)
    await office.clock.run(5 + LAST_WORDS - 0.01)
    assert [worker.signals for worker in office.hired] == [[signal.SIGTERM]] * 2
    await office.clock.run(0.01)
    assert await office.crew.gone() == 137


async def test_a_worker_stopped_before_it_was_ready_did_nothing_wrong():
    office = Office()
    starting = asyncio.create_task(office.crew.start())
    await settle()
    office.crew.leave(0)
    assert not await starting
    assert await office.crew.gone() == 0


async def test_a_first_worker_that_cannot_even_be_hired_is_an_error():
    office = Office()
    office.trouble = OSError("no more processes")
    assert not await office.crew.start()
    with pytest.raises(OSError, match="no more processes"):
        await office.crew.gone()


async def test_a_replacement_that_cannot_be_hired_is_tried_again_later(office):
    office.trouble = OSError("no more processes")
    office.hired[1].end(137)
    await office.clock.run(LONGEST_PAUSE - 0.01)
    office.trouble = None
    assert len(office.hired) == 2
    await office.clock.run(0.01)
    assert [worker.seat for worker in office.hired] == [0, 1, 1]
