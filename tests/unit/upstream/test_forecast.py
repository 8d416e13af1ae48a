from __future__ import annotations

import math

import pytest

from app.resilience.options import QueueOptions
from app.upstream.forecast import Forecast
from app.upstream.line import Line
from tests.clock import FakeClock
from tests.unit.upstream.fleets import make_call
from tests.unit.upstream.waiters import make_waiter


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def forecast(clock: FakeClock) -> Forecast:
    return Forecast(QueueOptions(max_wait=10, overload_wait=0.5), clock, lambda: 0.5)


def line_of(*waiters) -> Line:
    line = Line()
    for waiter in waiters:
        line.push(waiter)
    return line


def learn(forecast: Forecast, clock: FakeClock, rate: int = 100) -> None:
    """Somebody has waited for a second, in which so many tokens passed."""
    forecast.flow.begin()
    for _ in range(10):
        clock.advance(0.1)
        forecast.flow.passed(rate // 10)


def test_nobody_waits_longer_than_max_wait_or_than_leaves_time_for_an_answer(clock: FakeClock):
    forecast = Forecast(QueueOptions(max_wait=10), clock, takes=lambda call: 3.0)
    assert forecast.patience(make_call()) == 10
    assert forecast.patience(make_call(patience=8)) == 5
    assert forecast.patience(make_call(patience=2)) == -1
    assert forecast.late(make_call(patience=2))
    assert not forecast.late(make_call(patience=3))


def test_a_wait_is_the_tokens_ahead_by_the_pace_of_the_moment(forecast: Forecast, clock: FakeClock):
    line = line_of(*(make_waiter("a", 100) for _ in range(5)))
    assert forecast.wait(make_call(tenant="a"), line) == 0
    learn(forecast, clock)
    assert forecast.wait(make_call(tenant="a"), line) == pytest.approx(5, rel=0.1)
    forecast.flow._tokens = 0.0
    assert forecast.wait(make_call(tenant="a"), line) == math.inf


def test_whoever_is_next_has_nothing_to_expect(forecast: Forecast, clock: FakeClock):
    learn(forecast, clock)
    assert forecast.wait(make_call(tenant="b"), Line()) == 0


def test_the_longer_a_room_has_not_been_empty_the_less_may_wait_in_it(forecast: Forecast, clock: FakeClock):
    assert forecast.allowed(10) == 10
    forecast.flow.begin()
    clock.advance(4)
    assert forecast.allowed(10) == 6
    assert forecast.allowed(2) == 2
    clock.advance(400)
    assert forecast.allowed(10) == 0.5
    assert forecast.allowed(0.1) == 0.1
    forecast.flow.end()
    assert forecast.allowed(10) == 10


def test_while_nothing_is_known_callers_come_back_within_seconds(forecast: Forecast):
    refusal = forecast.refusal("queue_full", make_call(), 100, Line())
    assert (refusal.retry_after, refusal.reason) == (2.0, "queue_full")


def test_those_sent_away_come_back_one_after_the_other(forecast: Forecast, clock: FakeClock):
    """By the pace at which places become free, and a little late at random."""
    learn(forecast, clock)
    line = line_of(make_waiter("a", 100))
    waits = [
        forecast.refusal("queue_full", make_call(tenant="a"), 200, line, 3).retry_after for _ in range(3)
    ]
    assert waits == pytest.approx([5 * 1.05, 7 * 1.05, 9 * 1.05], rel=0.05)
    other = forecast.refusal("queue_full", make_call(tenant="b"), 200, line).retry_after
    assert other == pytest.approx(2 * 1.05, rel=0.05)


def test_nobody_is_sent_away_for_more_than_a_minute_or_less_than_a_second(
    forecast: Forecast, clock: FakeClock
):
    learn(forecast, clock)
    line = line_of(make_waiter("a", 100))
    refusals = [forecast.refusal("queue_full", make_call(tenant="a"), 2000, line) for _ in range(9)]
    assert refusals[-1].retry_after == 60
    assert forecast.refusal("queue_full", make_call(tenant="b"), 1, line).retry_after == 1


def test_in_an_empty_room_nothing_is_remembered_of_those_sent_away(forecast: Forecast, clock: FakeClock):
    learn(forecast, clock)
    line = Line()
    for _ in range(2):
        refusal = forecast.refusal("queue_wait", make_call(), 200, line)
        assert refusal.retry_after == pytest.approx(2 * 1.05, rel=0.05)
    assert line.of(0)._backlogs == {}
