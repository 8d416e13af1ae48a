from __future__ import annotations

import asyncio
import logging

import pytest

from app.upstream.rounds import AFTER_A_BUG, Rounds
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import make_fleet, make_plan, spec


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Visits:
    """Counts visits by endpoint; those in `stuck` never end, those in `bugs` raise."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.stuck: set[str] = set()
        self.bugs: set[str] = set()

    def __call__(self, endpoint):
        async def visit() -> float:
            self.made.append(endpoint.name)
            if endpoint.name in self.stuck:
                await asyncio.get_running_loop().create_future()
            if endpoint.name in self.bugs:
                raise ZeroDivisionError
            return 10.0

        return visit


@pytest.fixture
def visits() -> Visits:
    return Visits()


async def test_every_endpoint_is_visited_at_its_pace(clock: FakeClock, visits: Visits):
    rounds = Rounds(make_fleet(spec("a"), spec("b")), visits, clock, jitter=lambda: 0.5)
    rounds.start()
    await clock.run(25)
    assert sorted(visits.made) == ["a", "a", "a", "b", "b", "b"]
    assert repr(rounds) == "<Rounds endpoints=2 unvisited=0>"
    await rounds.aclose()
    await clock.run(25)
    assert len(visits.made) == 6
    assert len(asyncio.all_tasks()) == 1


async def test_visits_do_not_fall_into_step(clock: FakeClock, visits: Visits):
    jitter = iter([0.0, 1.0, 0.5, 0.5])
    rounds = Rounds(make_fleet(spec("a"), spec("b")), visits, clock, jitter=lambda: next(jitter))
    rounds.start()
    await clock.run(9.5)
    assert len(visits.made) == 3
    await clock.run(2)
    assert len(visits.made) == 4
    await rounds.aclose()


async def test_one_that_is_stuck_keeps_nobody_waiting(clock: FakeClock, visits: Visits):
    visits.stuck.add("a")
    rounds = Rounds(make_fleet(spec("a"), spec("b")), visits, clock, jitter=lambda: 0.5)
    rounds.start()
    await clock.run(25)
    assert sorted(visits.made) == ["a", "b", "b", "b"]
    await rounds.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_the_first_round_is_over_when_everyone_was_visited_or_left(clock: FakeClock, visits: Visits):
    visits.stuck.add("a")
    fleet = make_fleet(spec("a"), spec("b"))
    rounds = Rounds(fleet, visits, clock)
    rounds.start()
    first = asyncio.create_task(rounds.first(9.0))
    await settle()
    assert not first.done()
    fleet.apply(make_plan(spec("b")))
    await settle()
    assert first.done()
    await rounds.aclose()


async def test_nobody_waits_longer_for_the_first_round_than_he_cares_to(clock: FakeClock, visits: Visits):
    visits.stuck.add("a")
    rounds = Rounds(make_fleet(spec("a")), visits, clock)
    rounds.start()
    first = asyncio.create_task(rounds.first(1.0))
    await clock.run(0.9)
    assert not first.done()
    await clock.run(0.2)
    assert first.done()
    await rounds.aclose()


async def test_the_first_round_of_no_endpoints_is_over_at_once(clock: FakeClock, visits: Visits):
    rounds = Rounds(make_fleet(), visits, clock)
    rounds.start()
    await rounds.first(9.0)
    await rounds.aclose()


async def test_those_who_come_are_visited_and_those_who_leave_are_not(clock: FakeClock, visits: Visits):
    fleet = make_fleet(spec("a"))
    rounds = Rounds(fleet, visits, clock, jitter=lambda: 0.5)
    fleet.apply(make_plan(spec("a"), spec("early")))
    rounds.start()
    await settle()
    fleet.apply(make_plan(spec("b")))
    await clock.run(15)
    assert visits.made == ["a", "early", "b", "b"]
    await rounds.aclose()
    fleet.apply(make_plan(spec("c")))
    await settle()
    assert visits.made[4:] == []


async def test_a_hurried_visit_comes_at_once(clock: FakeClock, visits: Visits):
    fleet = make_fleet(spec("a"))
    rounds = Rounds(fleet, visits, clock, jitter=lambda: 0.5)
    rounds.hurry(fleet.endpoints["a"])
    rounds.start()
    await clock.run(1)
    rounds.hurry(fleet.endpoints["a"])
    await settle()
    assert visits.made == ["a", "a"]
    await clock.run(9.5)
    assert visits.made == ["a", "a"], "the next is a whole pause later"
    await rounds.aclose()


async def test_a_bug_ends_no_round(clock: FakeClock, visits: Visits, caplog: pytest.LogCaptureFixture):
    visits.bugs.add("a")
    rounds = Rounds(make_fleet(spec("a")), visits, clock, jitter=lambda: 0.5)
    rounds.start()
    await clock.run(AFTER_A_BUG + 0.1)
    assert visits.made == ["a", "a"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    await rounds.aclose()
