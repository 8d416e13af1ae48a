"""The arithmetic of one limit."""

from __future__ import annotations

from app.state.account import CLOCK_ERROR, Account


def test_what_is_used_drains_and_what_is_reserved_does_not():
    account = Account(at=0, ends=100)
    account.used, account.reserved = 10, 5
    assert account.taken(4, refill=2) == 7
    assert account.taken(50, refill=2) == 5
    assert "used=0.0 reserved=5" in repr(account)


def test_time_that_goes_back_drains_nothing():
    account = Account(at=10, ends=100)
    account.used = 10
    assert account.taken(5, refill=2) == 10
    assert account.taken(11, refill=2) == 8


def test_an_account_is_idle_when_nothing_would_be_lost():
    account = Account(at=0, ends=100)
    assert account.idle(0, 0)
    account.used = 1
    assert not account.idle(0, 99 + CLOCK_ERROR)
    assert account.idle(0, 100 + CLOCK_ERROR)
    account.reserved = 1
    assert not account.idle(0, 100 + CLOCK_ERROR)


def test_between_two_looks_it_drains_at_the_lower_of_two_rates():
    account = Account(at=0, ends=100)
    account.used = 100
    assert account.taken(1, refill=2) == 98
    assert account.taken(2, refill=50) == 96
    assert account.taken(3, refill=50) == 46
    assert account.taken(4, refill=1) == 45
