from __future__ import annotations

import math

import pytest

from app.core.outcome import ABANDONED
from app.resilience.bulkhead import Bulkhead, BulkheadOptions
from app.resilience.conduct import Conduct
from app.resilience.ejection import EjectionOptions
from app.upstream.latency import DECAY, Latency
from tests.clock import FakeClock
from tests.unit.upstream.fleets import FAILURE, SUCCESS, make_call


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def answers() -> list[float]:
    return []


@pytest.fixture
def conduct() -> Conduct:
    return Conduct(EjectionOptions(), lambda offence: None)


@pytest.fixture
def bulkhead() -> Bulkhead:
    return Bulkhead(BulkheadOptions())


@pytest.fixture
def latency(clock: FakeClock, answers: list[float], conduct: Conduct, bulkhead: Bulkhead) -> Latency:
    return Latency(clock, answers.append, conduct, bulkhead)


def answer_after(latency: Latency, clock: FakeClock, seconds: float) -> None:
    permit = latency.admit(make_call())
    clock.advance(seconds)
    permit.answered()
    permit(SUCCESS)


def test_nothing_is_known_at_first(latency: Latency):
    assert latency.seconds is None
    assert latency.ready


def test_the_first_answer_sets_it(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 0.5)
    assert latency.seconds == 0.5


def test_the_end_of_an_answered_call_changes_nothing(latency: Latency, clock: FakeClock):
    permit = latency.admit(make_call())
    permit.answered()
    clock.advance(1200)
    permit(SUCCESS)
    assert latency.seconds == 0.0


def test_a_slower_answer_counts_at_once(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 0.5)
    answer_after(latency, clock, 3.0)
    assert latency.seconds == 3.0


def test_a_faster_answer_counts_little_by_little(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 3.0)
    answer_after(latency, clock, 1.0)
    weight = math.exp(-1.0 / DECAY)
    assert latency.seconds == pytest.approx(3.0 * weight + 1.0 * (1 - weight))


def test_it_fades_without_answers(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 3.0)
    clock.advance(DECAY)
    assert latency.seconds == pytest.approx(3.0 / math.e)


def test_a_call_that_gave_up_unanswered_raises_it(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 0.5)
    permit = latency.admit(make_call())
    clock.advance(30)
    permit(ABANDONED)
    permit(ABANDONED)
    assert latency.seconds == 30


def test_a_call_that_gave_up_soon_does_not_lower_it(latency: Latency, clock: FakeClock):
    answer_after(latency, clock, 3.0)
    latency.admit(make_call())(ABANDONED)
    assert latency.seconds == 3.0


def test_it_tells_when_the_answered_call_was_admitted(
    latency: Latency, clock: FakeClock, answers: list[float]
):
    admitted = clock.monotonic()
    answer_after(latency, clock, 2.0)
    latency.admit(make_call())(ABANDONED)
    assert answers == [admitted]


def test_waits_of_streams_and_ends_that_say_something_are_told(
    latency: Latency, clock: FakeClock, conduct: Conduct
):
    answer_after(latency, clock, 0.5)
    latency.admit(make_call())(FAILURE)
    latency.admit(make_call())(ABANDONED)
    assert (conduct.calls, conduct.failures, conduct.waits) == (2, 1, 0)
    streaming = make_call()
    streaming.streams = True
    for settlement in (SUCCESS, ABANDONED):
        permit = latency.admit(streaming)
        clock.advance(2)
        if settlement is SUCCESS:
            permit.answered()
        permit(settlement)
    latency.admit(streaming)(ABANDONED)
    assert (conduct.waits, conduct.wait) == (2, 2.0)


def test_it_knows_since_when_there_are_calls(latency: Latency, clock: FakeClock, bulkhead: Bulkhead):
    started = clock.monotonic()
    first, _ = bulkhead.admit(make_call()), latency.admit(make_call())
    clock.advance(1)
    bulkhead.admit(make_call())
    latency.admit(make_call())
    first(SUCCESS)
    assert latency.busy_since == started
