"""How calls went of late: two intervals at most, turned by the calls themselves."""

from __future__ import annotations

import pytest

from app.resilience.conduct import KEPT, Conduct
from app.resilience.ejection import EjectionOptions


@pytest.fixture
def looks():
    return []


@pytest.fixture
def conduct(looks):
    return Conduct(EjectionOptions(), looks.append)


def test_nothing_is_known_at_first(conduct):
    assert (conduct.calls, conduct.failures, conduct.waits, conduct.wait) == (0, 0, 0, 0.0)


def test_ends_and_waits_are_counted(conduct):
    conduct.succeeded()
    conduct.failed(1.0)
    for seconds in (1.0, 9.0, 2.0):
        conduct.waited(seconds, 1.0)
    assert (conduct.calls, conduct.failures, conduct.waits, conduct.wait) == (2, 1, 3, 2.0)
    assert repr(conduct) == "<Conduct failures=1/2 row=1 wait=2.000>"


def test_it_is_time_to_compare_when_an_interval_is_over(conduct, looks):
    conduct.waited(1.0, 100.0)
    conduct.waited(1.0, 109.9)
    assert looks == []
    conduct.waited(1.0, 110.0)
    assert looks == [None]
    conduct.failed(119.9)
    assert looks == [None]
    conduct.failed(120.0)
    assert looks == [None, None]


def test_what_is_older_than_two_intervals_is_forgotten(conduct):
    conduct.waited(5.0, 100.0)
    conduct.succeeded()
    conduct.waited(1.0, 110.0)
    assert (conduct.calls, conduct.waits) == (1, 2)
    conduct.waited(1.0, 120.0)
    assert (conduct.calls, conduct.waits, conduct.wait) == (0, 1, 1.0)


def test_what_comes_after_a_long_rest_is_not_compared_with_what_was_before_it(conduct, looks):
    conduct.waited(5.0, 100.0)
    conduct.succeeded()
    conduct.waited(1.0, 120.0)
    assert (looks, conduct.calls, conduct.waits) == ([], 0, 0)


def test_no_more_waits_are_kept_than_the_median_needs(conduct):
    for _ in range(KEPT + 9):
        conduct.waited(1.0, 100.0)
    assert conduct.waits == KEPT


def test_failures_in_a_row_are_told_at_once_and_again(conduct, looks):
    for _ in range(4):
        conduct.failed(100.0)
    conduct.succeeded()
    for _ in range(4):
        conduct.failed(100.0)
    assert looks == []
    for _ in range(6):
        conduct.failed(100.0)
    assert looks == ["failures", "failures"]


def test_three_relapses_within_twice_the_base_time_are_told(conduct, looks):
    for now in (100.0, 161.0, 162.0):
        conduct.relapsed(now)
    assert looks == []
    conduct.relapsed(163.0)
    assert looks == ["relapses"]


def test_relapses_are_remembered_until_they_are_forgiven(conduct, looks):
    conduct.relapsed(100.0)
    conduct.relapsed(101.0)
    conduct.failed(101.0)
    conduct.clear()
    assert conduct.failures == 0
    conduct.relapsed(102.0)
    assert looks == ["relapses"]
    conduct.forgive()
    conduct.relapsed(103.0)
    assert looks == ["relapses"]
