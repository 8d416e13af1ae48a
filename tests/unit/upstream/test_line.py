from __future__ import annotations

from types import SimpleNamespace

from app.upstream.line import Line


def waiter(since: float, *tried: str):
    return SimpleNamespaceHashable(since=since, tried=frozenset(tried))


class SimpleNamespaceHashable(SimpleNamespace):
    __hash__ = object.__hash__

    def __eq__(self, other) -> bool:
        return self is other


def test_it_is_served_in_order_of_arrival():
    line, first, second = Line(), waiter(1.0), waiter(2.0)
    assert line.since is None
    line.push(first)
    line.push(second)
    assert list(line) == [first, second]
    assert line.since == 1.0
    assert len(line) == 2


def test_whoever_leaves_is_gone_at_once_and_once_only():
    line, first, second = Line(), waiter(1.0), waiter(2.0)
    line.push(first)
    line.push(second)
    line.discard(first)
    line.discard(first)
    assert list(line) == [second]
    assert line.since == 2.0


def test_it_may_change_while_it_is_served():
    line = Line()
    waiters = [waiter(float(n)) for n in range(5)]
    for each in waiters:
        line.push(each)
    for each in line:
        line.discard(each)
    assert len(line) == 0


def test_waiters_who_tried_the_same_are_of_one_kind():
    line, odd = Line(), waiter(3.0, "a", "b")
    line.push(waiter(1.0))
    line.push(waiter(2.0))
    line.push(odd)
    assert line.kinds == 2
    line.discard(odd)
    assert line.kinds == 1
