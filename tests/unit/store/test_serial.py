"""One piece of work after another, in a thread; what becomes of each is heard on the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.store.serial import SerialThread
from tests.clock import settle


@pytest.fixture
def thread():
    thread = SerialThread("a test")
    yield thread
    thread.end()


async def test_work_is_done_in_its_order_in_one_thread(thread):
    done = [thread.run(lambda number=number: (number, threading.get_ident())) for number in range(5)]
    numbers, threads = zip(*await asyncio.gather(*done), strict=True)
    assert numbers == tuple(range(5))
    assert len(set(threads) - {threading.get_ident()}) == 1


async def test_what_work_raises_is_raised_and_the_next_is_done(thread):
    def fail():
        raise OSError("no disk")

    failed, done = thread.run(fail), thread.run(lambda: "done")
    with pytest.raises(OSError, match="no disk"):
        await failed
    assert await done == "done"


async def test_work_that_nobody_waits_for_is_not_begun_but_ended(thread):
    gate, begun, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        gate.wait(5)
        ended.append("first")

    first, second = thread.run(work), thread.run(lambda: ended.append("second"))
    await asyncio.to_thread(begun.wait, 5)
    first.cancel()
    second.cancel()
    gate.set()
    await thread.run(lambda: ended.append("third"))
    assert ended == ["first", "third"]


async def test_the_end_comes_after_what_is_queued():
    thread, done = SerialThread("a test"), []
    answers = [thread.run(lambda number=number: done.append(number)) for number in range(3)]
    thread.end()
    assert done == [0, 1, 2]
    await settle()
    assert all(answer.done() for answer in answers)
    with pytest.raises(RuntimeError, match="a test has ended"):
        thread.run(list)


def test_a_loop_that_is_closed_hears_nothing_and_harms_nobody():
    thread, gate = SerialThread("a test"), threading.Event()

    async def leave():
        thread.run(lambda: gate.wait(5))

    asyncio.run(leave())
    gate.set()
    assert asyncio.run(heard(thread)) == "heard"
    thread.end()


async def heard(thread):
    return await thread.run(lambda: "heard")
