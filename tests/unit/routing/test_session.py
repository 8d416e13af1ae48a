"""Sessions stay where their prefix is cached."""

import math
from collections import Counter

import pytest

from app.routing import session
from app.routing.session import Session
from tests.unit.routing.fleet import call, seats, shares

SESSIONS = [f"user-{number}" for number in range(4000)]


def homes(endpoints, tenant="tnt_1") -> dict[str, str]:
    strategy = Session()
    return {name: strategy.pick(call(name, tenant), endpoints).spec.name for name in SESSIONS}


def test_a_session_always_goes_to_the_same_endpoint_on_every_gateway():
    endpoints = seats(a=1, b=1, c=1, d=1)
    assert homes(endpoints) == homes(endpoints) == homes(endpoints[::-1])


def test_sessions_spread_by_weight():
    counted = Counter(homes(seats(a=2, b=1, c=1)).values())
    assert counted["a"] == pytest.approx(2000, abs=150)
    assert counted["b"] == pytest.approx(1000, abs=150)


def test_an_endpoint_that_leaves_moves_only_its_own_sessions():
    before = homes(seats(a=1, b=1, c=1, d=1))
    after = homes(seats(a=1, b=1, c=1))
    assert all(after[name] == home for name, home in before.items() if home != "d")


def test_an_endpoint_that_comes_takes_about_its_share():
    before = homes(seats(a=1, b=1, c=1))
    after = homes(seats(a=1, b=1, c=1, d=1))
    moved = {name for name in SESSIONS if before[name] != after[name]}
    assert {after[name] for name in moved} == {"d"}
    assert len(moved) == pytest.approx(1000, abs=150)


def test_equal_sessions_of_two_tenants_have_nothing_in_common():
    endpoints = seats(a=1, b=1, c=1, d=1)
    mine, theirs = homes(endpoints), homes(endpoints, tenant="tnt_2")
    same = sum(mine[name] == theirs[name] for name in SESSIONS)
    assert same == pytest.approx(1000, abs=150)


def test_one_hot_session_overruns_nobody():
    strategy, endpoints = Session(), seats(a=1, b=1, c=1, d=1)
    for _ in range(400):
        strategy.pick(call("hot"), endpoints).inflight += 1
    assert max(endpoint.inflight for endpoint in endpoints) <= math.ceil(1.25 * 100)


def test_the_bound_holds_by_weight():
    strategy, endpoints = Session(), seats(a=3, b=1)
    for _ in range(400):
        strategy.pick(call("hot"), endpoints).inflight += 1
    assert endpoints[0].inflight <= 375
    assert endpoints[1].inflight <= 125


def test_a_few_calls_at_once_do_not_drive_a_session_away():
    strategy, endpoints = Session(), seats(a=1, b=1, c=1, d=1)
    home = strategy.pick(call("mine"), endpoints)
    home.inflight = 3
    assert strategy.pick(call("mine"), endpoints) is home
    home.inflight = 4
    assert strategy.pick(call("mine"), endpoints) is not home


def test_a_call_without_a_session_goes_to_the_least_loaded():
    endpoints = seats(a=3, b=1)
    assert shares(Session(), endpoints, 400) == {"a": 300, "b": 100}
    endpoints[0].inflight = 3
    assert shares(Session(), endpoints, 10) == {"b": 10}


@pytest.mark.parametrize("name", ["", "ü", "\udcff", "x" * 100_000])
def test_any_session_name_will_do(name):
    assert Session().pick(call(name), seats(a=1, b=1))


def test_names_that_are_gone_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr(session, "_NAMES_KEPT", 2)
    strategy = Session()
    for endpoint in seats(a=1, b=1, c=1):
        strategy.pick(call("mine"), [endpoint])
    assert len(strategy._seeds) <= 2
