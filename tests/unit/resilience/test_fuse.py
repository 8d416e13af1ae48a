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
def examined() -> list:
    """Whom the fuse asked about, and what to call if it lives."""
    return []


@pytest.fixture
def fuse(clock: FakeClock, examined: list) -> Fuse:
    return Fuse(lambda model, endpoint: FuseOptions(), clock, lambda *asked: examined.append(asked))


def die(fuse: Fuse, call, endpoint: str, since: float | None = None, **how) -> None:
    """The attempt began in the moment in which the endpoint died, unless said otherwise."""
    fuse.died(call, endpoint, fuse._clock.monotonic() if since is None else since, **how)


def refuses(fuse: Fuse, call) -> bool:
    try:
        fuse.check(call)
    except QueryOfDeath:
        return True
    return False


def blow(fuse: Fuse, content: str = "poison") -> None:
    die(fuse, asking(content), "a")
    die(fuse, asking(content), "b")


def test_one_death_is_nobodys_proof(fuse):
    assert not fuse.armed
    die(fuse, asking("poison"), "a")
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
        die(fuse, asking(f"innocent {number}"), "a")
        die(fuse, asking("the same in many calls"), "a")
        clock.advance(ONE_DEATH / 2)
    assert not any(refuses(fuse, asking(f"innocent {number}")) for number in range(50))
    assert not refuses(fuse, asking("the same in many calls"))


def test_an_endpoint_that_came_back_dies_another_death(fuse, clock):
    die(fuse, asking("poison"), "a")
    clock.advance(ONE_DEATH + 1)
    die(fuse, asking("poison"), "a")
    assert refuses(fuse, asking("poison"))


def test_deaths_of_the_same_endpoint_by_different_bodies_prove_nothing(fuse):
    die(fuse, asking("one"), "a")
    die(fuse, asking("two"), "b")
    assert not refuses(fuse, asking("one"))
    assert not refuses(fuse, asking("two"))


def test_a_body_that_is_answered_is_cleared(fuse):
    die(fuse, asking("popular"), "a")
    fuse.clear(asking("popular"))
    assert not fuse.armed
    die(fuse, asking("popular"), "b")
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
    die(fuse, asking("poison"), "a")
    assert not refuses(fuse, asking("poison")), "it begins anew"


def test_being_refused_does_not_lengthen_it_and_a_third_death_does(fuse, clock):
    blow(fuse)
    clock.advance(500)
    assert refuses(fuse, asking("poison"))
    die(fuse, asking("poison"), "c")
    clock.advance(500)
    assert refuses(fuse, asking("poison"))
    clock.advance(100)
    assert not refuses(fuse, asking("poison"))


def test_the_table_is_bounded_and_the_oldest_go_first(clock):
    fuse = Fuse(lambda model, endpoint: FuseOptions(max_suspects=3), clock, lambda *_: None)
    blow(fuse, "old")
    for number in range(3):
        blow(fuse, f"poison {number}")
    assert not refuses(fuse, asking("old"))
    assert all(refuses(fuse, asking(f"poison {number}")) for number in range(3))
    assert repr(fuse) == "<Fuse suspects=3 refused=3>"


def test_switched_off_it_never_arms(clock):
    fuse = Fuse(
        lambda model, endpoint: FuseOptions(enabled=(model, endpoint) == ("n", "a")), clock, lambda *_: None
    )
    blow(fuse)
    die(fuse, asking("poison", target="n"), "b")
    assert not fuse.armed
    die(fuse, asking("poison", target="n"), "a")
    assert fuse.armed


def test_it_says_once_whose_call_it_was_and_never_what_it_said(fuse, caplog):
    first, second, third = asking("poison"), asking("poison"), asking("poison")
    with caplog.at_level(logging.WARNING):
        for call, endpoint in ((first, "a"), (first, "a"), (second, "b"), (second, "b"), (third, "c")):
            die(fuse, call, endpoint)
    (line,) = caplog.messages
    assert second.id in line
    assert "poison" not in line


def test_an_endpoint_that_lives_has_died_no_death(fuse, examined, clock):
    """It closed a connection, or something between us did."""
    blow(fuse)
    die(fuse, asking("another"), "a")
    assert [endpoint for endpoint, _ in examined] == ["a", "b"], "each death is looked at once"
    examined[1][1]()
    assert not refuses(fuse, asking("poison"))
    examined[0][1]()
    assert not fuse.armed
    die(fuse, asking("poison"), "a")
    assert len(examined) == 3, "a later death is another one"


def test_an_endpoint_that_reported_its_own_death_is_believed(fuse, examined):
    die(fuse, asking("poison"), "a", certain=True)
    assert not examined
    die(fuse, asking("poison"), "b")
    die(fuse, asking("poison"), "b", certain=True)
    examined[0][1]()
    assert refuses(fuse, asking("poison"))


def test_a_fleet_that_goes_down_at_once_proves_nothing(fuse, clock):
    """The same body was in flight everywhere: nobody sent it to the second because of the first."""
    began = clock.monotonic()
    clock.advance(5)
    for endpoint in "abc":
        die(fuse, asking("popular"), endpoint, since=began)
        clock.advance(0.01)
    assert not refuses(fuse, asking("popular"))
    die(fuse, asking("popular"), "d")
    assert refuses(fuse, asking("popular"))


def test_a_body_that_carries_an_answer_on_is_the_one_its_caller_sent(fuse):
    die(fuse, asking("poison"), "a")
    resumed = asking("poison with the answer so far")
    resumed.asked = asking("poison").body
    die(fuse, resumed, "b")
    assert refuses(fuse, asking("poison"))


def test_a_call_without_its_body_is_still_the_same(fuse):
    sealed = asking("poison")
    fuse.seal(sealed)
    assert sealed.body == {}
    die(fuse, sealed, "a")
    die(fuse, asking("poison"), "b")
    assert refuses(fuse, asking("poison"))
    assert not refuses(fuse, asking("another"))
