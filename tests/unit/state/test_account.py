"""The arithmetic of one limit."""

from __future__ import annotations

from app.state.account import Account


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
    assert not account.idle(0, 99)
    assert account.idle(0, 100)
    account.reserved = 1
    assert not account.idle(0, 100)
