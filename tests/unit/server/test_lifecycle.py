from __future__ import annotations

import asyncio

from app.server.lifecycle import Lifecycle, State


def test_ready_only_while_serving():
    lifecycle = Lifecycle()
    seen = [lifecycle.ready]
    for step in (lifecycle.begin_serving, lifecycle.begin_lame_duck, lifecycle.begin_draining, lifecycle.end):
        step()
        seen.append(lifecycle.ready)
    assert seen == [False, True, False, False, False]


def test_draining_begins_after_the_lame_duck_and_stays():
    lifecycle = Lifecycle()
    lifecycle.begin_lame_duck()
    assert not lifecycle.draining
    lifecycle.begin_draining()
    assert lifecycle.draining
    lifecycle.end()
    assert lifecycle.draining


def test_no_state_comes_back():
    lifecycle = Lifecycle()
    lifecycle.begin_draining()
    lifecycle.begin_serving()
    assert lifecycle.state is State.DRAINING


async def test_waiters_wake_at_their_state_or_a_later_one():
    lifecycle = Lifecycle()
    serving = asyncio.create_task(lifecycle.reached(State.SERVING))
    draining = asyncio.create_task(lifecycle.reached(State.DRAINING))
    await asyncio.sleep(0)
    lifecycle.begin_lame_duck()
    await serving
    assert not draining.done()
    lifecycle.end()
    await draining
    await lifecycle.reached(State.DRAINING)


async def test_cancelled_waiter_is_forgotten():
    lifecycle = Lifecycle()
    waiter = asyncio.create_task(lifecycle.reached(State.SERVING))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter})
    lifecycle.begin_serving()
    assert lifecycle.state is State.SERVING


def test_second_request_to_stop_hurries():
    lifecycle = Lifecycle()
    lifecycle.stop()
    assert lifecycle.asked.is_set()
    assert not lifecycle.hurried.is_set()
    lifecycle.stop()
    assert lifecycle.hurried.is_set()


def test_abort_reaches_everyone_who_asked():
    lifecycle = Lifecycle()
    ended = []
    lifecycle.on_abort(lambda: ended.append(1))
    lifecycle.on_abort(lambda: ended.append(2))
    lifecycle.abort()
    assert ended == [1, 2]


def test_repr_shows_state_and_calls():
    assert repr(Lifecycle()) == "<Lifecycle starting inflight=0>"
