"""Round robin by weight."""

from app.routing.round_robin import RoundRobin
from tests.unit.routing.fleet import seats, shares


def test_three_to_one_is_exact():
    assert shares(RoundRobin(), seats(a=3, b=1), 4000) == {"a": 3000, "b": 1000}


def test_two_to_one_to_one_is_exact():
    assert shares(RoundRobin(), seats(a=2, b=1, c=1), 4000) == {"a": 2000, "b": 1000, "c": 1000}


def test_load_is_no_matter():
    endpoints = seats(a=1, b=1)
    endpoints[0].inflight = 1000
    assert shares(RoundRobin(), endpoints, 10) == {"a": 5, "b": 5}
