from __future__ import annotations

import pytest

from app.upstream.flow import ENOUGH, Flow
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flow(clock: FakeClock) -> Flow:
    return Flow(clock)


def run(flow: Flow, clock: FakeClock, calls: int, tokens: int = 100, every: float = 0.5) -> None:
    for _ in range(calls):
        clock.advance(every)
        flow.passed(tokens)


def test_nothing_is_said_after_too_few(flow: Flow, clock: FakeClock):
    assert flow.rate is None
    flow.begin()
    clock.advance(7)
    run(flow, clock, ENOUGH)
    assert flow.rate is None, "the first of them only begins the count"
    run(flow, clock, 1)
    assert flow.rate == pytest.approx(200, rel=0.05)


def test_nothing_is_said_of_no_time_at_all(flow: Flow):
    flow.begin()
    for _ in range(2 * ENOUGH):
        flow.passed(100)
    assert flow.rate is None


def test_a_change_of_pace_is_noticed(flow: Flow, clock: FakeClock):
    flow.begin()
    run(flow, clock, 100)
    run(flow, clock, 100, tokens=400)
    assert flow.rate == pytest.approx(800, rel=0.05)


def test_where_nothing_moves_any_more_the_rate_falls(flow: Flow, clock: FakeClock):
    flow.begin()
    run(flow, clock, 100)
    clock.advance(30)
    assert flow.rate == pytest.approx(200 * 0.05, rel=0.1)


def test_time_in_which_nobody_waits_does_not_count(flow: Flow, clock: FakeClock):
    flow.begin()
    run(flow, clock, 20)
    flow.end()
    known = flow.rate
    clock.advance(1000)
    assert flow.rate == known
    assert flow.standing == 0
    flow.begin()
    clock.advance(2)
    flow.begin()
    assert flow.standing == 2
    assert repr(flow).startswith("<Flow rate=20")
