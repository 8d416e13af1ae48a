from __future__ import annotations

import pytest

from app.upstream.busy import Busy
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def busy(clock: FakeClock) -> Busy:
    return Busy(clock, jitter=lambda: 0.0)


def test_nobody_is_busy_at_first(busy: Busy):
    assert busy.left == 0


def test_the_endpoints_own_word_counts(busy: Busy, clock: FakeClock):
    busy.mark(5.0)
    assert busy.left == 5.0
    clock.advance(5.0)
    assert busy.left == 0


def test_without_its_word_pauses_double_up_to_thirty_seconds(busy: Busy, clock: FakeClock):
    pauses = []
    for _ in range(7):
        busy.mark(None)
        pauses.append(busy.left)
        clock.advance(busy.left)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_refusals_of_calls_under_way_count_once(busy: Busy, clock: FakeClock):
    for _ in range(64):
        busy.mark(None)
    assert busy.left == 1.0
    clock.advance(1.0)
    busy.mark(None)
    assert busy.left == 2.0


def test_a_longer_word_of_its_own_prolongs_the_pause_and_a_shorter_does_not(busy: Busy):
    busy.mark(None)
    busy.mark(5.0)
    busy.mark(2.0)
    assert busy.left == 5.0


def test_an_answer_makes_the_next_refusal_a_first_one(busy: Busy, clock: FakeClock):
    busy.mark(None)
    clock.advance(1.0)
    busy.answered(admitted=clock.monotonic())
    busy.mark(None)
    assert busy.left == 1.0


def test_the_answer_of_an_older_call_changes_nothing(busy: Busy, clock: FakeClock):
    before = clock.monotonic()
    clock.advance(1.0)
    busy.mark(None)
    clock.advance(1.0)
    busy.answered(admitted=before)
    busy.mark(None)
    assert busy.left == 2.0


def test_pauses_are_stretched_and_never_cut(clock: FakeClock):
    busy = Busy(clock, jitter=lambda: 1.0)
    busy.mark(10.0)
    assert busy.left == pytest.approx(11.0)
