"""Random by weight."""

import random

import pytest

from app.routing.random_ import WeightedRandom, weighted
from tests.unit.routing.fleet import seats, shares


@pytest.mark.parametrize(("chance", "place"), [(0.0, 0), (0.74, 0), (0.75, 1), (0.999, 1), (1.0, 1)])
def test_the_line_is_shared_out_by_weight(chance, place):
    assert weighted(seats(a=3, b=1), chance) == place


def test_picks_by_weight_in_the_long_run():
    counted = shares(WeightedRandom(random.Random(7).random), seats(a=3, b=1), 4000)
    assert counted["a"] == pytest.approx(3000, abs=120)
