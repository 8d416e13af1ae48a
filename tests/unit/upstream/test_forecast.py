from __future__ import annotations

import math

import pytest

from app.resilience.options import QueueOptions
from app.upstream.fair import FairQueue
from app.upstream.forecast import Forecast
from tests.clock import FakeClock
from tests.unit.upstream.fleets import make_call
from tests.unit.upstream.waiters import make_waiter


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def forecast(clock: FakeClock) -> Forecast:
    return Forecast(QueueOptions(max_wait=10, overload_wait=0.5), clock, lambda: 0.5)


@pytest.fixture
def queue(clock: FakeClock) -> FairQueue:
    return FairQueue(clock, QueueOptions)


def wait(queue: FairQueue, calls: int, tenant: str = "a") -> None:
    for _ in range(calls):
        queue.push(make_waiter(tenant, 100))


def learn(queue: FairQueue, clock: FakeClock, rate: int = 100) -> None:
    """Somebody waits for a second, in which so many tokens pass."""
    for _ in range(11):
        clock.advance(0.1)
        queue.flow.passed(rate // 10, waited=0.0)


def test_nobody_waits_longer_than_max_wait_or_than_leaves_time_for_an_answer(clock: FakeClock):
    forecast = Forecast(QueueOptions(max_wait=10), clock, takes=lambda call: 3.0)
    assert forecast.patience(make_call()) == 10
    assert forecast.patience(make_call(patience=8)) == 5
    assert forecast.patience(make_call(patience=2)) == -1
    assert forecast.late(make_call(patience=2))
    assert not forecast.late(make_call(patience=3))


def test_a_wait_is_the_tokens_ahead_by_the_pace_of_the_moment(forecast, clock, queue):
    wait(queue, 5)
    assert forecast.wait(make_call(tenant="a"), queue) == 0
    learn(queue, clock)
    assert forecast.wait(make_call(tenant="a"), queue) == pytest.approx(5, rel=0.1)
    queue.flow._tokens = 0.0
    assert forecast.wait(make_call(tenant="a"), queue) == math.inf


def test_whoever_is_next_has_nothing_to_expect(forecast, clock, queue):
    learn(queue, clock)
    assert forecast.wait(make_call(tenant="b"), queue) == 0


def test_the_longer_a_queue_has_been_standing_the_less_may_wait_in_it(forecast, clock, queue):
    assert forecast.allowed(10, queue) == 10
    queue.flow.passed(100, waited=1.0)
    clock.advance(4)
    assert forecast.allowed(10, queue) == 6
    assert forecast.allowed(2, queue) == 2
    clock.advance(400)
    assert forecast.allowed(10, queue) == 0.5
    assert forecast.allowed(0.1, queue) == 0.1
    queue.flow.end()
    clock.advance(1)
    assert forecast.allowed(10, queue) == 1


def test_while_nothing_is_known_callers_come_back_within_seconds(forecast, queue):
    refusal = forecast.refusal("queue_full", make_call(), 100, queue)
    assert (refusal.retry_after, refusal.reason) == (2.0, "queue_full")


def test_those_sent_away_come_back_one_after_the_other(forecast, clock, queue):
    """When what waits is gone, at half the pace at which places become free, and a little late at random."""
    wait(queue, 1)
    learn(queue, clock)
    waits = [forecast.refusal("queue_full", make_call(tenant="a"), 200, queue).retry_after for _ in range(3)]
    assert waits == pytest.approx([5.5, 9.5, 13.5], rel=0.05)
    other = forecast.refusal("queue_full", make_call(tenant="b"), 200, queue).retry_after
    assert other == pytest.approx(1 + 4 + 0.5, rel=0.05)


def test_nobody_is_sent_away_for_more_than_a_minute_or_less_than_a_second(forecast, clock, queue):
    wait(queue, 1)
    learn(queue, clock)
    refusals = [forecast.refusal("queue_full", make_call(tenant="a"), 2000, queue) for _ in range(9)]
    assert refusals[-1].retry_after == 45, "at random in the second half of the minute"
    queue.remove(queue.first())
    assert forecast.refusal("queue_wait", make_call(tenant="b"), 1, queue).retry_after == 1.5


def test_of_an_empty_queue_nothing_is_remembered_of_those_sent_away(forecast, clock, queue):
    learn(queue, clock)
    for _ in range(2):
        refusal = forecast.refusal("queue_wait", make_call(), 200, queue)
        assert refusal.retry_after == pytest.approx(4.5, rel=0.05)
    assert queue._backlogs == {}
