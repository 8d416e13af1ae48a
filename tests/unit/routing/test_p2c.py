"""Power of two choices."""

import random

import pytest

from app.routing.p2c import PowerOfTwo
from tests.unit.routing.fleet import call, seats, shares


def drawing(*chances: float) -> PowerOfTwo:
    return PowerOfTwo(iter(chances).__next__)


def test_one_endpoint_needs_no_choice():
    assert drawing().pick(call(), seats(a=1)).spec.name == "a"


def test_the_less_loaded_of_the_two_is_picked():
    endpoints = seats(a=1, b=1, c=1)
    endpoints[0].inflight, endpoints[2].inflight = 2, 1
    assert drawing(0.0, 0.9).pick(call(), endpoints) is endpoints[2]
    assert drawing(0.9, 0.0).pick(call(), endpoints) is endpoints[2]


def test_the_two_are_never_the_same():
    endpoints = seats(a=1, b=1)
    endpoints[0].inflight = 1
    assert drawing(0.0, 0.0).pick(call(), endpoints) is endpoints[1]
    assert drawing(0.9, 0.9).pick(call(), endpoints) is endpoints[1]


def test_of_equals_the_first_drawn_is_picked_so_that_weights_hold():
    counted = shares(PowerOfTwo(random.Random(7).random), seats(a=3, b=1), 4000)
    assert counted["a"] == pytest.approx(3000, abs=120)


def test_the_most_loaded_endpoint_is_never_picked():
    endpoints = seats(a=1, b=1, c=1, d=1)
    endpoints[3].inflight = 9
    assert "d" not in shares(PowerOfTwo(random.Random(7).random), endpoints, 1000)
