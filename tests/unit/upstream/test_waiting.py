from __future__ import annotations

import asyncio

import pytest

from app.core.errors import NoHealthyEndpoint, Overloaded
from app.core.guard import Lease
from app.core.outcome import ABANDONED
from app.resilience.options import QueueOptions
from app.upstream.waiting import WaitingRoom
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import make_call


class Places:
    """Hands out as many places as it is told, and takes back what is released."""

    def __init__(self, usable_after: frozenset[str] | None = None) -> None:
        self.free = 0
        self.asked = 0
        self.returned = 0
        self.usable_after = usable_after

    def __call__(self, call, tried):
        self.asked += 1
        if not self.free or (self.usable_after is not None and tried != self.usable_after):
            return None
        self.free -= 1
        lease = Lease()
        lease._releases.append(self.give_back)
        return "endpoint", lease

    def give_back(self, settlement) -> None:
        assert settlement is ABANDONED
        self.free += 1
        self.returned += 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def places() -> Places:
    return Places()


@pytest.fixture
def room(clock: FakeClock) -> WaitingRoom:
    return WaitingRoom(QueueOptions(max_wait=10, max_length=3), clock, jitter=lambda: 0.5)


def enter(room: WaitingRoom, *tried: str, **fields) -> asyncio.Task:
    return asyncio.create_task(room.wait(make_call(**fields), tried))


async def test_places_go_out_in_order_of_arrival(room: WaitingRoom, places: Places):
    tasks = [enter(room) for _ in range(3)]
    await settle()
    for index in range(3):
        places.free = 1
        assert room.serve(places) == 1
        await settle()
        assert [task.done() for task in tasks] == [True] * (index + 1) + [False] * (2 - index)
    assert len(room) == 0


async def test_no_more_are_served_than_asked_for(room: WaitingRoom, places: Places):
    tasks = [enter(room) for _ in range(3)]
    await settle()
    places.free = 3
    assert room.serve(places, at_most=2) == 2
    assert len(room) == 1
    assert room.serve(places) == 1
    await asyncio.gather(*tasks)


async def test_a_place_the_first_cannot_use_goes_to_the_next_who_can(room: WaitingRoom):
    first, second = enter(room, "a"), enter(room)
    await settle()
    places = Places(usable_after=frozenset())
    places.free = 1
    room.serve(places)
    await settle()
    assert second.done()
    assert not first.done()
    first.cancel()


async def test_those_who_ask_for_the_same_in_vain_are_not_asked_twice(room: WaitingRoom, places: Places):
    tasks = [enter(room), enter(room, "a"), enter(room)]
    await settle()
    assert room.serve(places) == 0
    assert places.asked == 2
    for task in tasks:
        task.cancel()


async def test_a_full_room_refuses(room: WaitingRoom):
    tasks = [enter(room) for _ in range(3)]
    await settle()
    with pytest.raises(Overloaded) as refusal:
        await room.wait(make_call(), ())
    assert refusal.value.retry_after == 2.0
    assert repr(room) == "<WaitingRoom waiting=3/3>"
    for task in tasks:
        task.cancel()


async def test_a_caller_who_left_keeps_no_seat(room: WaitingRoom):
    tasks = [enter(room) for _ in range(3)]
    await settle()
    tasks[1].cancel()
    entering = room.wait(make_call(), ())
    entering.send(None)  # in the same turn of the loop
    assert len(room) == 3
    entering.close()
    for task in tasks:
        task.cancel()


async def test_whoever_stops_waiting_leaves_no_timer_behind(
    room: WaitingRoom, places: Places, clock: FakeClock
):
    served, gone = enter(room), enter(room)
    await settle()
    places.free = 1
    room.serve(places)
    gone.cancel()
    await settle()
    assert served.done()
    assert [timer for _, _, timer in clock._due if timer.callback is not None] == []


async def test_a_caller_who_left_is_passed_over_at_once(room: WaitingRoom, places: Places):
    first, second = enter(room), enter(room)
    await settle()
    first.cancel()
    places.free = 1
    assert room.serve(places) == 1
    await settle()
    assert second.done()
    assert first.cancelled()


async def test_the_wait_is_over_after_max_wait(room: WaitingRoom, clock: FakeClock):
    call = make_call()
    task = asyncio.create_task(room.wait(call, ()))
    await clock.run(9.9)
    assert not task.done()
    await clock.run(0.2)
    with pytest.raises(Overloaded):
        await task
    assert call.queue_wait == pytest.approx(10.0, abs=0.2)
    assert len(room) == 0


async def test_the_wait_is_over_with_the_calls_own_deadline(room: WaitingRoom, clock: FakeClock):
    task = enter(room, patience=3.0)
    await clock.run(3.1)
    with pytest.raises(Overloaded):
        await task


async def test_a_call_past_its_deadline_does_not_wait(room: WaitingRoom):
    with pytest.raises(Overloaded):
        await room.wait(make_call(patience=0.0), ())


async def test_the_time_waited_is_added_to_the_call(room: WaitingRoom, places: Places, clock: FakeClock):
    call = make_call(queue_wait=1.0)
    task = asyncio.create_task(room.wait(call, ()))
    await clock.run(2.0)
    assert room.since == 1_000.0
    places.free = 1
    room.serve(places)
    endpoint, lease = await task
    assert (endpoint, lease.settled) == ("endpoint", False)
    assert call.queue_wait == 3.0


async def test_a_place_handed_to_somebody_leaving_is_given_back(room: WaitingRoom, places: Places):
    task = enter(room)
    await settle()
    places.free = 1
    room.serve(places)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (places.free, places.returned) == (1, 1)


async def test_a_refusal_for_somebody_leaving_is_forgotten(room: WaitingRoom):
    task = enter(room)
    await settle()
    room.serve(lambda call, tried: NoHealthyEndpoint())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_those_for_whom_it_is_hopeless_are_told(room: WaitingRoom):
    tasks = [enter(room), enter(room)]
    await settle()
    assert room.serve(lambda call, tried: NoHealthyEndpoint()) == 0
    for task in tasks:
        with pytest.raises(NoHealthyEndpoint):
            await task


async def test_time_running_out_on_somebody_leaving_harms_nobody(room: WaitingRoom, clock: FakeClock):
    task = enter(room)
    await settle()
    task.cancel()
    clock.advance(20)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(room) == 0
