"""Overload in virtual time (FAULTS, group O): what is served, who waits, who is sent away, and how soon.

The pool, its waiting room and its endpoints' gates are the real ones; callers and engines are played. The wall
clock is in measure_overload.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.faults.virtual import World, latency, percentile, served, shed

LOADS = (0.5, 0.8, 1, 2, 5, 10)
STEADY = 15.0
"""Seconds after which a lasting overload is one: `max_wait`, and the time to drain what was let in before."""


_WORLDS: dict[float, World] = {}


async def loaded(load: float) -> World:
    """Forty seconds of it, played once for all that is asked of them."""
    if load not in _WORLDS:
        world = _WORLDS[load] = World()
        world.offer(load * world.capacity, 0, 40)
        await world.run(45)
    return _WORLDS[load]


async def test_o01_goodput_stays_at_its_peak_however_much_is_offered():
    goodput = {}
    for load in LOADS:
        world = await loaded(load)
        goodput[load] = sum(STEADY <= fate.ended < 40 for fate in served(world.fates)) / (40 - STEADY)
    peak = max(goodput.values())
    assert peak >= 0.95 * World().capacity
    for load in (1, 2, 5, 10):
        assert goodput[load] >= 0.9 * peak, (load, goodput)


async def test_o01_those_admitted_to_an_overloaded_pool_wait_little():
    calm = latency(served((await loaded(0.8)).of(begin=STEADY)))
    for load in (2, 5, 10):
        tried = (await loaded(load)).of(begin=STEADY)
        assert percentile([fate.waited for fate in served(tried)], 0.99) <= 1.0
        assert latency(served(tried)) <= 2 * calm


@pytest.mark.parametrize("load", [2, 5, 10])
async def test_o02_those_sent_away_are_told_at_once_and_when_to_come_back(load):
    sent_away = shed((await loaded(load)).of(begin=STEADY))
    assert len(sent_away) > 100
    assert latency(sent_away) == 0.0
    assert all(1 <= fate.retry_after <= 60 for fate in sent_away)
    assert len({fate.retry_after for fate in sent_away}) > 0.2 * len(sent_away)


async def test_o03_a_queue_is_as_long_as_it_may_be_and_nobody_waits_longer_than_its_limit():
    world = World(queue={"max_length": 30, "max_wait": 2})
    longest = 0
    world.offer(10 * world.capacity, 0, 20)
    for _ in range(200):
        await world.clock.run(0.1)
        longest = max(longest, world.fleet.queued)
    await world.run(25)
    assert longest == 30
    assert {fate.reason for fate in shed(world.fates)} == {"queue_full", "queue_wait"}
    assert max(fate.waited for fate in served(world.fates)) <= 2.0
    assert max(fate.ended - fate.arrived for fate in shed(world.fates)) <= 2.0


async def test_o03_whoever_leaves_the_queue_takes_no_place():
    world = World(queue={"max_wait": 1})
    world.offer(world.capacity, 0, 1, seconds=60.0)
    world.offer(3 * world.capacity, 1, 5, tenant="b")
    await world.run(6)
    assert not served(world.of("b"))
    assert percentile([fate.ended - fate.arrived for fate in shed(world.of("b"))], 1) == pytest.approx(1.0)


async def test_o04_a_call_that_cannot_be_answered_in_time_is_not_kept_waiting():
    world = World()
    world.offer(3 * world.capacity, 0, 30)
    world.offer(5, STEADY, 30, patience=0.05, tenant="a")
    await world.run(35)
    hasty = [fate for fate in shed(world.of(begin=STEADY)) if fate.reason == "queue_wait"]
    assert hasty
    assert latency(hasty) <= 0.05


async def test_o04_within_a_tenant_those_who_came_first_are_served_first():
    fates = served((await loaded(5)).fates)
    begun = [(fate.arrived + fate.waited, fate.arrived) for fate in fates]
    assert all(one[1] <= other[1] + 1e-9 for one, other in pairwise(sorted(begun)) if one[0] < other[0])


@pytest.mark.parametrize("seconds", [10, 30])
async def test_o05_after_a_burst_all_is_as_before_within_five_seconds(seconds):
    world = World()
    world.offer(0.5 * world.capacity, 0, 10)
    world.offer(10 * world.capacity, 10, 10 + seconds)
    over = 10 + seconds
    world.offer(0.5 * world.capacity, over, over + 20)
    await world.run(over + 25)
    before, after = world.of(begin=0, end=8), world.of(begin=over + 5)
    assert not shed(after)
    assert latency(after) <= 1.1 * latency(before)


async def test_o05_after_a_short_burst_nobody_is_kept_out_longer_than_the_longest_wait():
    world = World()
    world.offer(10 * world.capacity, 0, 3)
    world.offer(0.5 * world.capacity, 3, 30)
    await world.run(35)
    assert not shed(world.of(begin=12))
    assert latency(world.of(begin=12)) <= 1.2 * (1 + world.spread)


async def test_o07_a_flood_at_fifty_times_its_share_costs_its_neighbour_a_fifth_at_most():
    """Forty places, calls of half a second to one and a half: B sends three a second, A a thousand."""

    async def neighbour(flood: float) -> World:
        world = World(places=20, spread=0.5)
        world.offer(3, 0, 25, tenant="b")
        if flood:
            world.offer(flood * world.capacity / 2, 0, 25)
        await world.run(30)
        return world

    solo, noisy = await neighbour(0), await neighbour(50)
    assert not shed(noisy.of("b"))
    assert latency(noisy.of("b")) <= 1.2 * latency(solo.of("b"))
    rate = noisy.capacity
    assert len([fate for fate in served(noisy.of("a")) if fate.ended < 25]) >= 0.9 * (rate - 3) * 24
    assert latency(shed(noisy.of("a", begin=STEADY))) == 0.0


async def test_o07_two_who_flood_have_the_same_share_whatever_they_offer():
    world = World()
    world.offer(2 * world.capacity, 0, 40, tenant="a")
    world.offer(10 * world.capacity, 0, 40, tenant="b")
    await world.run(45)
    shares = [len([f for f in served(world.of(name)) if 15 <= f.ended < 40]) for name in "ab"]
    assert min(shares) >= 0.9 * max(shares)


@pytest.mark.parametrize(("share", "finds_a_place"), [(80, True), (100, False)])
async def test_o08_long_answers_to_one_tenant_leave_places_for_another(share, finds_a_place):
    world = World(queue={"tenant_share": share})
    world.offer(5 * world.capacity, 0, 60, seconds=300.0)
    world.offer(2, 1, 60, tenant="b")
    await world.run(65)
    b = world.of("b")
    if finds_a_place:
        assert not shed(b)
        assert max(fate.waited for fate in b) < 3.0
    else:
        assert not served(b)


@pytest.mark.parametrize(("load", "seconds"), [(10, 3), (3, 10)])
async def test_o15_callers_who_come_back_when_they_are_told_to_are_served(load, seconds):
    tries = []
    for seed in range(3):
        world = World(seed=seed)
        world.offer(load * world.capacity, 0, seconds, obeys=True)
        world.offer(0.3 * world.capacity, seconds, 90, obeys=True)
        await world.run(100)
        tries += [fate for fate in world.fates if fate.retry]
    assert len(tries) > 500
    assert len(served(tries)) >= 0.95 * len(tries)


async def test_o19_batch_is_shed_before_anybody_else():
    world = World()
    world.offer(0.7 * world.capacity, 0, 60, tenant="interactive")
    world.offer(5 * world.capacity, 0, 60, tenant="batch", priority=10)
    await world.run(65)
    interactive, batch = world.of("interactive"), world.of("batch")
    assert not shed(interactive)
    assert percentile([fate.waited for fate in interactive], 0.99) <= 0.6
    assert len(shed(batch)) > 0.8 * len(batch)
    assert len(served(batch)) >= 0.8 * 0.3 * world.capacity * 60


async def test_o19_in_a_full_queue_batch_makes_way():
    world = World(queue={"max_length": 20})
    world.offer(5 * world.capacity, 0, 30, tenant="batch", priority=10)
    world.offer(0.7 * world.capacity, 5, 30, tenant="interactive")
    await world.run(35)
    assert not [fate for fate in shed(world.of("interactive")) if fate.reason == "queue_full"]
    assert [fate for fate in shed(world.of("batch")) if fate.ended > fate.arrived], "some had a seat already"


async def test_o13_an_endpoint_that_has_become_slow_is_hardly_used():
    """Ten times as long to the first token; five others as they were."""

    async def fleet(names: str, slow: dict[str, float]) -> World:
        world = World(names=names, strategy="peak_ewma", slow=slow)
        world.offer(30, 0, 60)
        await world.run(65)
        return world

    well, ill = await fleet("abcde", {}), await fleet("abcdef", {"f": 10.0})
    assert not shed(ill.fates)
    assert latency(served(ill.of(begin=5))) <= 1.5 * latency(served(well.of(begin=5)))
