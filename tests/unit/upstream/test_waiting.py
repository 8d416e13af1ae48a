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
    await settle()
    entering = enter(room)
    await settle()
    assert len(room) == 3
    entering.cancel()
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


async def served_one_by_one(room: WaitingRoom, places: Places, clock: FakeClock, times: int) -> None:
    for _ in range(times):
        await clock.run(0.1)
        places.free = 1
        room.serve(places)
    await settle()


async def test_a_flood_makes_way_for_whoever_has_less_waiting(room: WaitingRoom):
    flood = [enter(room, tenant="a") for _ in range(3)]
    await settle()
    other = enter(room, tenant="b")
    await settle()
    assert [task.done() for task in flood] == [False, False, True]
    with pytest.raises(Overloaded) as refusal:
        await flood[2]
    assert refusal.value.reason == "queue_full"
    for task in (*flood, other):
        task.cancel()


async def test_a_lower_class_makes_way_for_a_higher(room: WaitingRoom):
    batch = [enter(room, tenant="a", priority=10, prompt_estimate=n) for n in range(3)]
    await settle()
    with pytest.raises(Overloaded):
        await room.wait(make_call(tenant="b", priority=11), ())
    urgent = enter(room, tenant="c", prompt_estimate=100_000)
    await settle()
    assert [task.done() for task in (*batch, urgent)] == [False, False, True, False]
    with pytest.raises(Overloaded):
        await batch[2]
    for task in (*batch, urgent):
        task.cancel()


async def test_whoever_cannot_be_served_in_time_is_told_at_once(places: Places, clock: FakeClock):
    room = WaitingRoom(QueueOptions(max_wait=10, max_length=1000), clock, jitter=lambda: 0.5)
    tasks = [enter(room) for _ in range(120)]
    await settle()
    await served_one_by_one(room, places, clock, 10)
    with pytest.raises(Overloaded) as refusal:
        await room.wait(make_call(now=clock.now), ())
    assert refusal.value.reason == "queue_wait"
    assert refusal.value.retry_after == pytest.approx(11 + 0.2 + 0.5, abs=0.5)
    with pytest.raises(Overloaded):
        await room.wait(make_call(now=clock.now, patience=3), ())
    newcomer = enter(room, now=clock.now, tenant="b", patience=3)
    await served_one_by_one(room, places, clock, 1)
    assert newcomer.done()
    for task in tasks:
        task.cancel()


async def test_a_place_is_not_wasted_on_an_answer_that_would_come_too_late(places: Places, clock: FakeClock):
    options = QueueOptions(max_wait=10)
    room = WaitingRoom(options, clock, takes=lambda call: 2.0 if call.streams else 0.0)
    hasty = enter(room, patience=3)
    calm = enter(room, tenant="b")
    await clock.run(0.5)
    hasty_call = next(iter(room._line)).call
    hasty_call.streams = True
    clock.now += 1
    places.free = 1
    assert room.serve(places) == 1
    await settle()
    with pytest.raises(Overloaded) as refusal:
        await hasty
    assert refusal.value.reason == "queue_wait"
    assert calm.done()


async def test_a_tenant_held_back_lets_the_others_pass(room: WaitingRoom, places: Places):
    held, other = enter(room, tenant="a"), enter(room, tenant="b")
    await settle()
    places.free = 2
    assert room.serve(places, may_hold=lambda tenant: tenant == "b") == 1
    await settle()
    assert (held.done(), other.done()) == (False, True)
    held.cancel()


async def test_the_order_is_that_of_priority(room: WaitingRoom, places: Places):
    assert room.priority is None
    batch, urgent = enter(room, priority=5), enter(room, priority=-5, tenant="b")
    await settle()
    assert room.priority == -5
    places.free = 1
    room.serve(places)
    await settle()
    assert (urgent.done(), batch.done()) == (True, False)
    batch.cancel()
