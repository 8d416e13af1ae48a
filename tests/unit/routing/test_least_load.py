"""Least load."""

from app.routing.least_load import LeastLoad
from tests.unit.routing.fleet import Seat, call, seats, shares

NAMES = [f"e{number}" for number in range(100)]


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


def test_a_fall_it_was_told_of_is_seen_at_once():
    strategy, endpoints = LeastLoad(), seats(a=1, b=1, c=1)
    for endpoint, inflight in zip(endpoints, (1, 2, 3), strict=True):
        endpoint.inflight = inflight
    assert strategy.pick(call(), endpoints) is endpoints[0]
    endpoints[2].inflight = 0
    strategy.eased(endpoints[2])
    assert strategy.pick(call(), endpoints) is endpoints[2]


def test_the_cost_of_a_pick_does_not_grow_with_the_fleet():
    looks = []

    class Watched(Seat):
        load = property(lambda self: looks.append(self) or Seat.load.fget(self))

    strategy, endpoints = LeastLoad(), [Watched(seat.spec) for seat in seats(**dict.fromkeys(NAMES, 1))]
    running = [strategy.pick(call(), endpoints)]
    running[0].inflight += 1
    looks.clear()
    for number in range(1000):
        running.append(strategy.pick(call(), endpoints))
        running[-1].inflight += 1
        if number > 250:
            running[0].inflight -= 1
            strategy.eased(running.pop(0))
    assert len(looks) < 1000 * 5


def test_endpoints_in_another_list_keep_their_turns():
    strategy, endpoints = LeastLoad(), seats(a=2, b=1, c=1)
    picked = [strategy.pick(call(), endpoints[:: turn % 2 * 2 - 1]).spec.name for turn in range(400)]
    assert [picked.count(name) for name in "abc"] == [200, 100, 100]


def test_endpoints_that_are_gone_are_forgotten_in_the_end():
    strategy = LeastLoad()
    for generation in range(1000):
        strategy.pick(call(), seats(**{f"a{generation}": 1}))
    assert len(strategy._turns) < 300


def test_what_is_told_of_an_endpoint_it_does_not_know_is_no_matter():
    strategy = LeastLoad()
    strategy.eased(seats(a=1)[0])
    assert strategy.pick(call(), seats(b=1)).spec.name == "b"
