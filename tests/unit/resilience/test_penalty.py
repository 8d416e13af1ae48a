from __future__ import annotations

import pytest

from app.resilience.ejection import EjectionOptions
from app.resilience.penalty import Penalty


@pytest.fixture
def penalty():
    return Penalty(EjectionOptions(), lambda: 0.5)


def test_it_doubles_up_to_the_longest(penalty):
    now, given = 0.0, []
    for _ in range(6):
        given.append(penalty.next(now))
        now += given[-1]
    assert given == [30, 60, 120, 240, 300, 300]


def test_a_repetition_is_forgotten_for_each_stretch_as_long_as_the_last_that_went_well(penalty):
    assert [penalty.next(0.0), penalty.next(30.0)] == [30, 60]
    assert penalty.next(90.0 + 59.0) == 120
    assert penalty.next(269.0 + 120.0) == 120
    assert penalty.next(509.0 + 119.0 * 2) == 120
    assert penalty.next(1e6) == 30


def test_it_may_be_forgotten_altogether(penalty):
    penalty.next(0.0)
    penalty.next(30.0)
    penalty.forget()
    assert penalty.next(90.0) == 30


def test_it_is_stretched_or_shortened_by_up_to_a_tenth():
    assert Penalty(EjectionOptions(), lambda: 0.0).next(0.0) == pytest.approx(27)
    assert Penalty(EjectionOptions(), lambda: 1.0).next(0.0) == pytest.approx(33)


def test_a_base_beyond_the_longest_counts():
    penalty = Penalty(EjectionOptions(base_time=600), lambda: 0.5)
    assert [penalty.next(0.0), penalty.next(600.0)] == [600, 600]
