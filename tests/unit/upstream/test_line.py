from __future__ import annotations

import pytest

from app.resilience.options import QueueOptions
from app.upstream.line import CLASSES, Line
from tests.clock import FakeClock
from tests.unit.upstream.waiters import make_waiter, order


def line_of(*waiters) -> Line:
    line = Line(FakeClock(), QueueOptions)
    for waiter in waiters:
        line.push(waiter)
    return line


def test_it_is_served_in_order_of_arrival():
    assert Line(FakeClock(), QueueOptions).since is None
    first, second = make_waiter(since=1.0), make_waiter(since=2.0)
    line = line_of(first, second)
    assert list(line) == [first, second]
    assert (line.first(), line.since, len(line)) == (first, 1.0, 2)
    line.serve(first)
    assert (line.first(), line.since, len(line)) == (second, 2.0, 1)
    assert first not in line
    assert second in line


def test_whoever_leaves_is_gone_at_once_and_once_only():
    first, second = make_waiter(since=1.0), make_waiter(since=2.0)
    line = line_of(first, second)
    line.discard(first)
    line.discard(first)
    assert (line.first(), line.since, len(line)) == (second, 2.0, 1)


def test_it_may_change_while_it_is_looked_through():
    line = line_of(*(make_waiter() for _ in range(5)))
    for each in line:
        line.discard(each)
    assert len(line) == 0
    assert line.first() is None


def test_when_all_kinds_are_in_vain_nobody_is_looked_at():
    line = line_of(make_waiter(), make_waiter("a", 1, "gpu"))
    assert line.first({frozenset()}) is not None
    line._classes = {}
    assert line.first({frozenset(), frozenset({"gpu"})}) is None


def test_lower_priorities_are_served_first():
    line = line_of(
        make_waiter("b", priority=5), make_waiter("n"), make_waiter("v", priority=-1), make_waiter("n")
    )
    assert line.priority == -1
    assert order(line) == "vnnb"
    assert line.priority is None


def test_who_is_held_back_leaves_the_turn_to_the_next_class():
    low = make_waiter("b", priority=5)
    line = line_of(make_waiter("a"), low)
    assert line.first((), {"a"}) is low


def test_priorities_that_nobody_has_any_more_are_forgotten():
    line = Line(FakeClock(), QueueOptions)
    for priority in range(100):
        waiter = make_waiter(priority=priority)
        line.push(waiter)
        line.serve(waiter)
    assert len(line._classes) <= CLASSES


@pytest.mark.parametrize(
    ("waiting", "newcomer", "leaves"),
    [
        ([], ("a", 100, 0), None),
        ([("a", 100, 0)] * 4, ("a", 100, 0), None),
        ([("a", 100, 0)] * 4, ("b", 100, 0), 3),
        ([("a", 100, 0)] * 4 + [("b", 300, 0)], ("b", 100, 0), None),
        ([("a", 100, 0), ("b", 100, 0)], ("c", 100, 0), None),
        ([("a", 100, 0), ("b", 100, 5)], ("a", 900, 0), 1),
        ([("a", 100, 0), ("b", 100, 5)], ("c", 1, 9), None),
        ([("a", 900, 0), ("b", 100, 5), ("c", 200, 5)], ("a", 900, 0), 2),
    ],
)  # fmt: skip
def test_who_makes_way_in_a_full_line(waiting, newcomer, leaves):
    """The last of the greediest of the lowest class; a newcomer who would be that is the one to go."""
    waiters = [make_waiter(tenant, cost, priority=priority) for tenant, cost, priority in waiting]
    tenant, cost, priority = newcomer
    found = line_of(*waiters).giving_way(make_waiter(tenant, cost, priority=priority))
    assert found is (None if leaves is None else waiters[leaves])
