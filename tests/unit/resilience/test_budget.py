"""Retries stay a small part of the traffic."""

import pytest

from app.resilience.budget import RetryBudget
from tests.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


def spent(budget: RetryBudget, wanted: int = 1000) -> int:
    return sum(budget.withdraw() for _ in range(wanted))


def test_an_idle_gateway_may_still_save_a_few_calls(clock):
    assert spent(RetryBudget(0.1, 3, clock)) == 30


def test_more_calls_afford_more_retries(clock):
    budget = RetryBudget(0.1, 3, clock)
    for _ in range(1000):
        budget.deposit()
    assert spent(budget) == 130


def test_without_a_floor_retries_are_a_share_of_the_calls(clock):
    budget = RetryBudget(0.1, 0, clock)
    for _ in range(9):
        budget.deposit()
    assert not budget.withdraw()
    budget.deposit()
    assert budget.withdraw()
    assert not budget.withdraw()


def test_retries_of_ten_seconds_ago_are_forgiven(clock):
    budget = RetryBudget(0, 1, clock)
    assert spent(budget) == 10
    clock.advance(9)
    assert spent(budget) == 0
    clock.advance(1)
    assert spent(budget) == 10


def test_calls_of_ten_seconds_ago_afford_nothing(clock):
    budget = RetryBudget(1, 0, clock)
    budget.deposit()
    clock.advance(10)
    assert not budget.withdraw()


def test_an_endless_storm_is_amplified_by_the_ratio_alone(clock):
    budget = RetryBudget(0.1, 0, clock)
    retries = 0
    for _ in range(10_000):
        budget.deposit()
        retries += budget.withdraw()
        clock.advance(0.01)
    assert retries <= 1_000


def test_shows_what_it_counts(clock):
    budget = RetryBudget(0.1, 3, clock)
    budget.deposit()
    budget.withdraw()
    assert repr(budget) == "<RetryBudget retries=1 calls=1>"
