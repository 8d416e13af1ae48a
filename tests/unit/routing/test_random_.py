"""Random by weight."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.random_ import Lots, WeightedRandom
from tests.unit.routing.fleet import seats, shares


@pytest.mark.parametrize(("chance", "place"), [(0.0, 0), (0.74, 0), (0.75, 1), (0.999, 1), (1.0, 1)])
def test_the_line_is_shared_out_by_weight(chance, place):
    assert Lots().draw(seats(a=3, b=1), chance) == place


@pytest.mark.parametrize(
    ("first", "chance", "place"),
    [
        (0, 0.0, 1),
        (0, 0.49, 1),
        (0, 0.5, 2),
        (1, 0.74, 0),
        (1, 0.75, 2),
        (2, 0.74, 0),
        (2, 0.75, 1),
        (2, 1.0, 1),
    ],
)
def test_another_is_drawn_from_what_is_left_of_the_line(first, chance, place):
    lots = Lots()
    lots.draw(seats(a=3, b=1, c=1), 0.0)
    assert lots.draw_another(first, chance) == place


@given(st.lists(st.floats(0.1, 1e3), min_size=2, max_size=9), st.integers(0, 8), st.floats(0, 1))
def test_another_is_never_the_same(weights, first, chance):
    endpoints = seats(**dict.fromkeys("abcdefghi"[: len(weights)], 1))
    for endpoint, weight in zip(endpoints, weights, strict=True):
        endpoint.share = weight
    lots, first = Lots(), first % len(weights)
    lots.draw(endpoints, chance)
    assert lots.draw_another(first, chance) in {*range(len(weights))} - {first}


def test_a_weight_it_was_told_of_counts_from_then_on():
    lots, endpoints = Lots(), seats(a=1, b=1)
    assert lots.draw(endpoints, 0.6) == 1
    endpoints[1].share = 0.1
    lots.eased(endpoints[1])
    assert lots.draw(endpoints, 0.6) == 0


def test_what_it_is_told_of_others_is_no_matter():
    lots, endpoints = Lots(), seats(a=1, b=1)
    lots.draw(endpoints, 0.6)
    lots.eased(seats(c=1)[0])
    assert lots._endpoints is endpoints


def test_picks_by_weight_in_the_long_run():
    counted = shares(WeightedRandom(random.Random(7).random), seats(a=3, b=1), 4000)
    assert counted["a"] == pytest.approx(3000, abs=120)
