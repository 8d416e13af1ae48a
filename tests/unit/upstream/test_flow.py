from __future__ import annotations

import pytest

from app.resilience.options import QueueOptions
from app.upstream.flow import ENOUGH, Flow
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flow(clock: FakeClock) -> Flow:
    return Flow(clock, QueueOptions)


def run(flow: Flow, clock: FakeClock, calls: int, tokens: int = 100, every: float = 0.5) -> None:
    for _ in range(calls):
        clock.advance(every)
        flow.passed(tokens, 0.0)


def test_nothing_is_said_after_too_few(flow: Flow, clock: FakeClock):
    assert flow.rate is None
    clock.advance(7)
    run(flow, clock, ENOUGH)
    assert flow.rate is None, "the first of them only begins the count"
    run(flow, clock, 1)
    assert flow.rate == pytest.approx(200, rel=0.05)


def test_nothing_is_said_of_no_time_at_all(flow: Flow):
    for _ in range(2 * ENOUGH):
        flow.passed(100, 0.0)
    assert flow.rate is None


def test_a_change_of_pace_is_noticed(flow: Flow, clock: FakeClock):
    run(flow, clock, 100)
    run(flow, clock, 100, tokens=400)
    assert flow.rate == pytest.approx(800, rel=0.05)


def test_where_nothing_moves_any_more_the_rate_falls(flow: Flow, clock: FakeClock):
    run(flow, clock, 100)
    clock.advance(30)
    assert flow.rate == pytest.approx(200 * 0.05, rel=0.1)


def test_time_in_which_nobody_waits_does_not_count(flow: Flow, clock: FakeClock):
    run(flow, clock, 20)
    flow.end()
    known = flow.rate
    clock.advance(1000)
    assert flow.rate == known
    assert repr(flow) == "<Flow rate=205 standing=0.0>"


def test_a_queue_stands_while_those_served_have_waited_too_long(flow: Flow, clock: FakeClock):
    flow.passed(100, waited=0.1)
    clock.advance(60)
    assert flow.standing == 0
    for _ in range(4):
        flow.passed(100, waited=0.3)
        clock.advance(1)
    assert flow.standing == 4
    clock.advance(60)
    assert flow.standing == 10


def test_better_times_make_up_for_worse_and_a_moment_is_not_enough(flow: Flow, clock: FakeClock):
    flow.passed(100, waited=5)
    clock.advance(60)
    flow.end()
    clock.advance(0.5)
    assert flow.standing == 9.5
    flow.passed(100, waited=5)
    clock.advance(1)
    assert flow.standing == 10
    flow.passed(100, waited=0)
    clock.advance(4)
    assert flow.standing == 9
    clock.advance(60)
    assert flow.standing == 0
