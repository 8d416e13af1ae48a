"""Least load."""

from app.routing.least_load import LeastLoad
from tests.unit.routing.fleet import call, seats, shares


def test_takes_the_endpoint_with_the_fewest_calls():
    endpoints = seats(a=1, b=1, c=1)
    endpoints[0].inflight, endpoints[1].inflight, endpoints[2].inflight = 3, 1, 2
    assert LeastLoad().pick(call(), endpoints) is endpoints[1]


def test_calls_count_for_the_weight_that_carries_them():
    endpoints = seats(a=4, b=1)
    endpoints[0].inflight, endpoints[1].inflight = 3, 1
    assert LeastLoad().pick(call(), endpoints) is endpoints[0]


def test_an_idle_fleet_is_used_by_weight():
    assert shares(LeastLoad(), seats(a=3, b=1), 4000) == {"a": 3000, "b": 1000}


def test_calls_that_stay_spread_by_weight():
    strategy, endpoints = LeastLoad(), seats(a=3, b=1)
    for _ in range(400):
        strategy.pick(call(), endpoints).inflight += 1
    assert [endpoint.inflight for endpoint in endpoints] == [300, 100]


def test_turns_are_taken_among_equals_only():
    endpoints = seats(a=1, b=1, c=1)
    endpoints[1].inflight = 1
    assert shares(LeastLoad(), endpoints, 100) == {"a": 50, "c": 50}
