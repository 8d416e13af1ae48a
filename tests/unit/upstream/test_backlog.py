from __future__ import annotations

from app.upstream.backlog import Backlog
from tests.unit.upstream.waiters import make_waiter


def backlog_of(*waiters) -> Backlog:
    backlog = Backlog("a")
    for waiter in waiters:
        backlog.push(waiter)
    return backlog


def test_first_come_is_first_served_whatever_they_tried():
    waiters = [make_waiter("a", 1), make_waiter("a", 1, "gpu"), make_waiter("a", 1)]
    backlog = backlog_of(*waiters)
    for waiter in waiters:
        assert backlog.first() is waiter
        backlog.remove(waiter)
    assert not backlog
    assert backlog.first() is None


def test_who_asks_for_what_is_not_to_be_had_is_passed_over():
    waiters = [make_waiter("a", 1), make_waiter("a", 1, "gpu")]
    backlog = backlog_of(*waiters)
    assert backlog.first({frozenset()}) is waiters[1]
    assert backlog.first({frozenset(), frozenset({"gpu"})}) is None


def test_the_last_is_the_last_of_all_kinds():
    waiters = [make_waiter("a", 1), make_waiter("a", 1, "gpu"), make_waiter("a", 1)]
    assert backlog_of(*waiters).last is waiters[2]
    assert backlog_of(*waiters[:2]).last is waiters[1]


def test_its_size_is_that_of_its_tokens_to_the_power_of_two():
    small, large = make_waiter("a", 3), make_waiter("a", 1000)
    backlog = backlog_of(small, large)
    assert (backlog.tokens, backlog.size) == (1003, 10)
    backlog.remove(large)
    assert (backlog.tokens, backlog.size) == (3, 2)
    assert repr(backlog) == "<Backlog a tokens=3 start=0>"
