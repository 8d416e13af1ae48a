"""Smooth weighted order."""

from app.routing.weights import SmoothOrder
from tests.unit.routing.fleet import seats


def names(order, endpoints, count):
    return "".join(order.next(endpoints).spec.name for _ in range(count))


def test_spreads_the_heavy_one_out():
    assert names(SmoothOrder(), seats(a=5, b=1, c=1), 7) == "aabacaa"


def test_an_endpoint_that_was_away_gets_no_burst():
    order, endpoints = SmoothOrder(), seats(a=1, b=1)
    names(order, endpoints, 5)
    assert names(order, endpoints[:1], 1000) == "a" * 1000
    assert names(order, endpoints, 6).count("b") in {2, 3, 4}


def test_lists_that_change_from_call_to_call_keep_the_weights():
    order, endpoints = SmoothOrder(), seats(a=2, b=1, c=1)
    picked = "".join(names(order, endpoints if turn % 2 else endpoints[::-1], 1) for turn in range(400))
    assert [picked.count(name) for name in "abc"] == [200, 100, 100]


def test_endpoints_that_are_gone_are_forgotten_in_the_end():
    order = SmoothOrder()
    for generation in range(1000):
        order.next(seats(**{f"a{generation}": 1}))
    assert len(order._credit) < 300


def test_an_endpoint_that_starts_slowly_gets_the_share_it_has_at_the_time():
    order, endpoints = SmoothOrder(), seats(a=1, b=1)
    endpoints[1].share = 0.1
    assert names(order, endpoints, 110).count("b") == 10
    endpoints[1].share = 1.0
    assert names(order, endpoints, 100).count("b") in {49, 50, 51}
