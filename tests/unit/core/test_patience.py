"""A limit is over when the other side was silent, not when this process was held up."""

import asyncio
import socket
import time

import pytest

from app.core.patience import Countdown, within
from tests.clock import FakeClock, settle


async def test_what_ends_in_time_is_left_alone():
    async with within(5):
        await asyncio.sleep(0)


async def test_a_wait_that_is_too_long_is_ended():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with within(0.1):
            await asyncio.Event().wait()
    assert time.monotonic() - began >= 0.1


async def test_a_cancellation_by_somebody_else_stays_one():
    async def wait():
        async with within(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_an_answer_that_came_while_the_loop_was_held_up_is_still_read():
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    async with within(0.1):
        theirs.send(b"here")
        time.sleep(0.3)
        assert await _through_a_few_tasks(reader) == b"here"
    writer.close()
    await writer.wait_closed()
    theirs.close()


async def _through_a_few_tasks(reader, depth=4):
    """As a driver reads: each layer is told by the one below it."""
    if not depth:
        return await reader.read(100)
    return await asyncio.create_task(_through_a_few_tasks(reader, depth - 1))


async def test_no_timer_is_left_behind():
    loop = asyncio.get_running_loop()
    timers = []
    later = loop.call_later
    loop.call_later = lambda *args: timers.append(later(*args)) or timers[-1]
    async with within(5):
        pass
    del loop.call_later
    assert [timer.cancelled() for timer in timers] == [True]


async def test_a_countdown_is_over_after_its_seconds():
    clock, calls = FakeClock(), []
    Countdown(clock, 2.0, lambda: calls.append(clock.now))
    began = clock.now
    await clock.run(10)
    assert calls == [began + 2.0]


async def test_a_countdown_that_is_cancelled_on_its_way_is_never_over():
    clock, calls = FakeClock(), []
    countdown = Countdown(clock, 2.0, lambda: calls.append(clock.now))
    await clock.run(1.9)
    countdown.cancel()
    await settle()
    await clock.run(10)
    assert calls == []
