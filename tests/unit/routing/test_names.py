"""Strategies by name."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from app import routing
from app.routing import STRATEGIES, strategy
from app.routing.least_load import LeastLoad
from app.routing.round_robin import RoundRobin
from tests.unit.routing.fleet import call, seats


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_picks_from_what_it_is_given(name):
    endpoints = seats(a=1, b=2)
    assert strategy(name).pick(call(), endpoints) in endpoints
    assert strategy(name).pick(call("session"), endpoints[:1]) is endpoints[0]


def test_every_pool_gets_a_strategy_of_its_own():
    assert strategy("round_robin") is not strategy("round_robin")


@pytest.mark.parametrize(
    ("name", "kind"), [("roundrobin", RoundRobin), ("least_conn", LeastLoad), ("least_request", LeastLoad)]
)
def test_names_from_elsewhere_are_understood(name, kind):
    assert isinstance(strategy(name), kind)


def test_other_packages_may_offer_strategies(monkeypatch):
    offer = EntryPoint("theirs", "app.routing.round_robin:RoundRobin", routing.ENTRY_POINTS)
    monkeypatch.setattr(routing, "entry_points", lambda group: EntryPoints([offer]).select(group=group))
    assert isinstance(strategy("theirs"), RoundRobin)
    with pytest.raises(ValueError, match="theirs"):
        strategy("unknown")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown strategy 'fastest'; known: least_conn, .*, session"):
        strategy("fastest")
