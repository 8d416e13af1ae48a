"""Every strategy gives an endpoint that starts slowly its share of that time, and never none."""

from __future__ import annotations

import random

import pytest

from app.routing import STRATEGIES, strategy
from tests.unit.routing.fleet import call, seats

NAMES = sorted(STRATEGIES)


@pytest.fixture(autouse=True)
def _same_dice_every_time():
    random.seed(7)


def spread(name, endpoints, calls, *, under_way):
    """Picks of each, with so many calls always under way; the oldest ends first."""
    chosen, running, counts = strategy(name), [], {each.spec.name: 0 for each in endpoints}
    for number in range(calls):
        picked = chosen.pick(call(f"session-{number}"), [*endpoints])
        picked.inflight += 1
        running.append(picked)
        counts[picked.spec.name] += 1
        if len(running) > under_way:
            running.pop(0).inflight -= 1
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_a_tenth_of_the_weight_gets_about_a_tenth_of_the_calls(name):
    endpoints = seats(a=1, b=1)
    endpoints[1].share = 0.1
    counts = spread(name, endpoints, 2200, under_way=64)
    assert 80 <= counts["b"] <= 400


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("under_way", [0, 64])
def test_with_all_starting_slowly_nothing_changes(name, under_way):
    endpoints = seats(a=1, b=1)
    for endpoint in endpoints:
        endpoint.share = 0.1
    counts = spread(name, endpoints, 2000, under_way=under_way)
    assert 800 <= counts["a"] <= 1200


@pytest.mark.parametrize("name", NAMES)
def test_the_only_endpoint_gets_everything(name):
    (only,) = seats(a=1)
    only.share = 0.1
    assert spread(name, [only], 10, under_way=4) == {"a": 10}
