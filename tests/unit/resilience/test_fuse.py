"""Two deaths with the same body in flight blow the fuse for that body, and for nothing else."""

from __future__ import annotations

import logging

import pytest

from app.core.errors import QueryOfDeath
from app.core.tenant import Key, Tenant
from app.resilience.fuse import ONE_DEATH, Fuse, FuseOptions
from tests.clock import FakeClock
from tests.fakes import make_call


def asking(content: str, **fields):
    return make_call(body={"model": "m", "messages": [{"role": "user", "content": content}]}, **fields)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fuse(clock: FakeClock) -> Fuse:
    return Fuse(lambda model, endpoint: FuseOptions(), clock)


def refuses(fuse: Fuse, call) -> bool:
    try:
        fuse.check(call)
    except QueryOfDeath:
        return True
    return False


def blow(fuse: Fuse, content: str = "poison") -> None:
    fuse.died(asking(content), "a")
    fuse.died(asking(content), "b")


def test_one_death_is_nobodys_proof(fuse):
    assert not fuse.armed
    fuse.died(asking("poison"), "a")
    assert fuse.armed
    assert not refuses(fuse, asking("poison"))


def test_two_deaths_are_enough(fuse):
    blow(fuse)
    with pytest.raises(QueryOfDeath) as caught:
        fuse.check(asking("poison"))
    error = caught.value
    assert (error.status, error.code, error.type) == (502, "upstream_error", "server_error")
    assert error.headers()["x-should-retry"] == "false"
    assert "poison" not in error.message


def test_other_bodies_pass(fuse):
    blow(fuse)
    assert not refuses(fuse, asking("harmless"))
    assert not refuses(fuse, asking("poison", target="another model"))


def test_whoever_asks_it_is_the_same_body_by_whatever_name_of_the_model(fuse):
    blow(fuse)
    stranger = asking("poison", key=Key("key_2", Tenant("tnt_2", "other")))
    stranger.body = {"messages": stranger.body["messages"], "model": "an alias"}
    assert refuses(fuse, stranger)


def test_all_calls_in_flight_at_one_death_are_suspects_of_one(fuse, clock):
    for number in range(50):
        fuse.died(asking(f"innocent {number}"), "a")
        fuse.died(asking("the same in many calls"), "a")
        clock.advance(ONE_DEATH / 2)
    assert not any(refuses(fuse, asking(f"innocent {number}")) for number in range(50))
    assert not refuses(fuse, asking("the same in many calls"))


def test_an_endpoint_that_came_back_dies_another_death(fuse, clock):
    fuse.died(asking("poison"), "a")
    clock.advance(ONE_DEATH + 1)
    fuse.died(asking("poison"), "a")
    assert refuses(fuse, asking("poison"))


def test_deaths_of_the_same_endpoint_by_different_bodies_prove_nothing(fuse):
    fuse.died(asking("one"), "a")
    fuse.died(asking("two"), "b")
    assert not refuses(fuse, asking("one"))
    assert not refuses(fuse, asking("two"))


def test_a_body_that_is_answered_is_cleared(fuse):
    fuse.died(asking("popular"), "a")
    fuse.clear(asking("popular"))
    assert not fuse.armed
    fuse.died(asking("popular"), "b")
    assert not refuses(fuse, asking("popular"))


def test_an_answer_clears_no_other_body(fuse):
    blow(fuse)
    fuse.clear(asking("harmless"))
    assert refuses(fuse, asking("poison"))


def test_after_ten_minutes_all_is_forgotten(fuse, clock):
    blow(fuse)
    clock.advance(599)
    assert refuses(fuse, asking("poison"))
    clock.advance(1)
    assert not refuses(fuse, asking("poison"))
    assert not fuse.armed
    fuse.died(asking("poison"), "a")
    assert not refuses(fuse, asking("poison")), "it begins anew"


def test_being_refused_does_not_lengthen_it_and_a_third_death_does(fuse, clock):
    blow(fuse)
    clock.advance(500)
    assert refuses(fuse, asking("poison"))
    fuse.died(asking("poison"), "c")
    clock.advance(500)
    assert refuses(fuse, asking("poison"))
    clock.advance(100)
    assert not refuses(fuse, asking("poison"))


def test_the_table_is_bounded_and_the_oldest_go_first(clock):
    fuse = Fuse(lambda model, endpoint: FuseOptions(max_suspects=3), clock)
    blow(fuse, "old")
    for number in range(3):
        blow(fuse, f"poison {number}")
    assert not refuses(fuse, asking("old"))
    assert all(refuses(fuse, asking(f"poison {number}")) for number in range(3))
    assert repr(fuse) == "<Fuse suspects=3 refused=3>"


def test_switched_off_it_never_arms(clock):
    fuse = Fuse(lambda model, endpoint: FuseOptions(enabled=(model, endpoint) == ("n", "a")), clock)
    blow(fuse)
    fuse.died(asking("poison", target="n"), "b")
    assert not fuse.armed
    fuse.died(asking("poison", target="n"), "a")
    assert fuse.armed


def test_it_says_once_whose_call_it_was_and_never_what_it_said(fuse, caplog):
    first, second, third = asking("poison"), asking("poison"), asking("poison")
    with caplog.at_level(logging.WARNING):
        for call, endpoint in ((first, "a"), (first, "a"), (second, "b"), (second, "b"), (third, "c")):
            fuse.died(call, endpoint)
    (line,) = caplog.messages
    assert second.id in line
    assert "poison" not in line
