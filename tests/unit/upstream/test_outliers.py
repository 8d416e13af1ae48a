"""Endpoints that do worse than their peers are set aside by themselves, and come back by themselves."""

from __future__ import annotations

import logging

import pytest

from app.core.outcome import ABANDONED
from app.upstream.fleet import Fleet
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import FAILURE, REFUSED, SUCCESS, limited, make_call, make_fleet, spec

LOOSE = {"breaker": {"failure_rate_threshold": 100, "consecutive_failures": 100}}
"""Breakers that hardly ever open."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def fleet_of(clock: FakeClock, *specs, **fields) -> Fleet:
    fields.setdefault("resilience", LOOSE)
    return make_fleet(*(specs or (spec("a"), spec("b"))), clock=clock, **fields)


def call_at(fleet: Fleet, name: str, settlement, clock: FakeClock, *, wait: float | None = None) -> None:
    """A call there; with a wait it is a stream that began to answer after so long."""
    call = make_call(streams=wait is not None)
    permits = [gate.admit(call) for gate in fleet.endpoints[name].gates]
    if wait is not None:
        clock.advance(wait)
        for permit in permits:
            permit.answered()
    for permit in reversed(permits):
        permit(settlement)


def state(fleet: Fleet, name: str = "a") -> tuple[str, str]:
    row = next(row for row in fleet.status()["endpoints"] if row["name"] == name)
    return row["state"], row["eject_reason"]


def fail(fleet: Fleet, clock: FakeClock, times: int, name: str = "a") -> None:
    call_at(fleet, name, SUCCESS, clock)
    for _ in range(times):
        call_at(fleet, name, FAILURE, clock)


async def picked(fleet: Fleet, calls: int = 4) -> set[str]:
    names = set()
    for _ in range(calls):
        endpoint, lease = await fleet.pool("m").enter(make_call(), ())
        names.add(endpoint.name)
        lease.settle(ABANDONED)
    return names


async def test_five_failures_in_a_row_set_it_aside(clock: FakeClock, caplog):
    fleet = fleet_of(clock)
    heard = []
    fleet.subscribe(lambda endpoint, word: heard.append((endpoint.name, word)))
    fail(fleet, clock, 4)
    assert state(fleet) == ("up", "")
    with caplog.at_level(logging.WARNING):
        fail(fleet, clock, 5)
    assert state(fleet) == ("ejected", "failures")
    assert heard == [("a", "ejected")]
    assert "endpoint a is set aside for" in caplog.text
    assert await picked(fleet) == {"b"}
    assert 27 <= fleet.status()["endpoints"][0]["ejected_for"] <= 33


async def test_it_is_back_after_its_time_and_starts_slowly(clock: FakeClock):
    fleet = fleet_of(clock)
    heard = []
    fleet.subscribe(lambda endpoint, word: heard.append(word))
    fail(fleet, clock, 5)
    clock.advance(fleet.status()["endpoints"][0]["ejected_for"] + 0.1)
    assert state(fleet) == ("up", "")
    assert heard == ["ejected", "readmitted"]
    assert fleet.endpoints["a"].weight == 0.1
    assert fleet.status()["endpoints"][0]["share"] == 0.1
    assert "a" in await picked(fleet, 12)
    clock.advance(31)
    assert fleet.endpoints["a"].weight == 1


async def test_repeated_ejections_last_twice_as_long(clock: FakeClock):
    fleet = fleet_of(clock)
    lasted = []
    for _ in range(6):
        fail(fleet, clock, 5)
        lasted.append(fleet.status()["endpoints"][0]["ejected_for"])
        clock.advance(lasted[-1] + 0.1)
    for seconds, base in zip(lasted, [30, 60, 120, 240, 300, 300], strict=True):
        assert 0.9 * base <= seconds <= 1.1 * base


async def test_a_slow_one_is_found_when_an_interval_is_over(clock: FakeClock):
    fleet = fleet_of(clock, resilience={**LOOSE, "ejection": {"minimum_calls": 4}})
    for _ in range(12):
        call_at(fleet, "b", SUCCESS, clock, wait=0.2)
        call_at(fleet, "a", SUCCESS, clock, wait=2.0)
    assert state(fleet) == ("ejected", "slow")
    assert state(fleet, "b") == ("up", "")


async def test_one_that_fails_more_than_its_peers_is_found_when_an_interval_is_over(clock: FakeClock):
    fleet = fleet_of(clock)
    for number in range(40):
        clock.advance(0.5)
        call_at(fleet, "b", SUCCESS, clock, wait=0.0)
        call_at(fleet, "a", SUCCESS if number % 3 else FAILURE, clock, wait=0.0)
    assert state(fleet) == ("ejected", "failing")


async def test_load_and_callers_who_leave_are_no_offence(clock: FakeClock):
    fleet = fleet_of(clock)
    for _ in range(100):
        clock.advance(0.5)
        call_at(fleet, "a", ABANDONED, clock)
        call_at(fleet, "b", SUCCESS, clock, wait=0.0)
    assert state(fleet) == ("up", "")


async def test_a_breaker_that_is_open_has_said_enough(clock: FakeClock):
    fleet = fleet_of(clock, resilience={})
    for _ in range(5):
        call_at(fleet, "a", FAILURE, clock)
    assert state(fleet) == ("open", "")


async def test_three_relapses_set_it_aside(clock: FakeClock):
    fleet = fleet_of(clock, resilience={})
    breaker = fleet.endpoints["a"].breaker
    for relapse in range(4):
        assert state(fleet)[1] == "", relapse
        for _ in range(3):
            call_at(fleet, "a", REFUSED, clock)
        clock.advance(1)
        if relapse < 3:
            breaker.probe_passed("health")
    assert state(fleet)[1] == "relapses"
    breaker.probe_passed("health")
    assert await picked(fleet) == {"b"}


@pytest.mark.parametrize(
    "specs",
    [
        (spec("a"),),
        (spec("a"), spec("b", models={"n": "n"})),
        (spec("a"), spec("b", tier=1)),
        (spec("a"), spec("b", weight=0)),
    ],
)
async def test_one_without_peers_is_never_set_aside(clock: FakeClock, specs):
    fleet = fleet_of(clock, *specs)
    fail(fleet, clock, 15)
    assert state(fleet) == ("up", "")


async def test_peers_that_take_no_calls_are_none(clock: FakeClock):
    fleet = fleet_of(clock)
    fleet.endpoints["b"].probed("down")
    fail(fleet, clock, 15)
    assert state(fleet) == ("up", "")


async def test_it_may_be_switched_off(clock: FakeClock):
    fleet = fleet_of(clock, resilience={**LOOSE, "ejection": {"enabled": False}})
    fail(fleet, clock, 15)
    assert state(fleet) == ("up", "")


async def test_it_helps_out_when_the_others_are_full(clock: FakeClock):
    """An ejection must not turn a slow answer into none."""
    fleet = fleet_of(clock, endpoint_overrides=limited(b=1))
    fail(fleet, clock, 5)
    entered = [await fleet.pool("m").enter(make_call(), ()) for _ in range(3)]
    assert [endpoint.name for endpoint, _ in entered] == ["b", "a", "a"]


async def test_beyond_half_of_a_pool_all_are_used_again(clock: FakeClock):
    fleet = fleet_of(clock, spec("a"), spec("b"), spec("c"))
    fail(fleet, clock, 5, "a")
    assert await picked(fleet, 9) == {"b", "c"}
    fail(fleet, clock, 5, "b")
    assert fleet.pool("m").panic
    assert await picked(fleet, 9) == {"a", "b", "c"}


async def test_an_operator_restores_it_and_nothing_of_before_counts(clock: FakeClock):
    fleet = fleet_of(clock)
    fail(fleet, clock, 5)
    fleet.restore("a")
    assert state(fleet) == ("up", "")
    assert fleet.endpoints["a"].weight == 1
    fail(fleet, clock, 4)
    assert state(fleet) == ("up", "")
    fail(fleet, clock, 5)
    assert fleet.status()["endpoints"][0]["ejected_for"] <= 33
    clock.advance(1000)
    await settle()
    assert state(fleet) == ("up", "")


async def test_an_operators_ejection_outlasts_our_own(clock: FakeClock):
    fleet = fleet_of(clock)
    fail(fleet, clock, 5)
    fleet.eject("a", reason="mine")
    clock.advance(1000)
    assert state(fleet) == ("ejected", "mine")
    assert fleet.status()["endpoints"][0]["ejected_for"] is None


async def test_one_that_has_left_meanwhile_is_forgotten(clock: FakeClock):
    fleet = fleet_of(clock)
    fail(fleet, clock, 5)
    left = fleet.endpoints["a"]
    heard = []
    fleet.apply(fleet_of(clock, spec("b")).plan)
    fleet.subscribe(lambda endpoint, word: heard.append(word))
    clock.advance(1000)
    for _ in range(9):
        left.conduct.failed(clock.monotonic())
    assert heard == []


async def test_a_suspected_endpoint_gets_no_new_calls_while_it_is_examined(clock: FakeClock):
    fleet = fleet_of(clock)
    belief = fleet.endpoints["a"].belief
    belief.suspect("silent")
    assert await picked(fleet) == {"a", "b"}
    belief.suspect("suspected")
    assert state(fleet) == ("suspected", "suspected")
    assert await picked(fleet) == {"b"}
    belief.trust()
    assert state(fleet) == ("up", "")
    assert await picked(fleet) == {"a", "b"}
    assert fleet.endpoints["a"].weight == 1


async def test_one_that_is_found_stuck_is_out_for_that_alone(clock: FakeClock):
    fleet = fleet_of(clock)
    fleet.endpoints["a"].belief.suspect("suspected")
    fleet.endpoints["a"].belief.seize("stuck")
    assert state(fleet) == ("stuck", "")
    fleet.endpoints["a"].completed()
    assert state(fleet) == ("up", "")


async def test_a_suspicion_nobody_looks_into_lapses(clock: FakeClock):
    fleet = fleet_of(clock)
    fleet.endpoints["a"].belief.suspect("suspected")
    clock.advance(30)
    assert await picked(fleet) == {"a", "b"}


@pytest.mark.parametrize("alone", [True, False])
async def test_a_suspicion_keeps_nobody_out_who_has_no_peers_or_was_ejected_by_an_operator(
    clock: FakeClock, alone: bool
):
    fleet = fleet_of(clock, *([spec("a")] if alone else [spec("a"), spec("b")]))
    if not alone:
        fleet.eject("a", reason="mine")
    fleet.endpoints["a"].belief.suspect("suspected")
    fleet.endpoints["a"].belief.trust()
    assert state(fleet) == (("up", "") if alone else ("ejected", "mine"))


async def test_what_takes_the_name_of_one_that_was_set_aside_is_not(clock: FakeClock):
    fleet = fleet_of(clock)
    fail(fleet, clock, 5)
    fleet.eject("b", reason="mine")
    others = [spec("a", url="http://other:8000"), spec("b", url="http://another:8000")]
    fleet.apply(fleet_of(clock, *others).plan)
    assert (state(fleet), state(fleet, "b")) == (("up", ""), ("ejected", "mine"))
