from __future__ import annotations

import asyncio

import pytest

from app.core.errors import NoHealthyEndpoint
from app.core.failures import EndpointFailed, FirstByteTimeout
from app.upstream.fleet import Fleet
from app.upstream.health import HealthOptions, Prober
from tests.clock import FakeClock, settle
from tests.unit.upstream.engines import Engines
from tests.unit.upstream.fleets import REFUSED, break_open, make_call, make_fleet, make_plan, spec


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def fleet(clock: FakeClock) -> Fleet:
    return make_fleet(spec("a", models=None), spec("b", models=None), clock=clock)


@pytest.fixture
async def prober(fleet: Fleet, engines: Engines, clock: FakeClock):
    control = engines.control(clock)
    prober = Prober(fleet, control, clock, HealthOptions(), jitter=lambda: 0.5)
    yield prober
    await prober.aclose()
    await control.aclose()
    assert len(asyncio.all_tasks()) == 1


def test_the_defaults_are_the_documented_ones():
    options = HealthOptions()
    assert (options.interval, options.interval_down, options.timeout) == (5, 1, 5)
    assert (options.healthy_after, options.unhealthy_after) == (2, 3)
    assert HealthOptions.model_validate({"interval": "15s"}).interval == 15
    with pytest.raises(ValueError):
        HealthOptions.model_validate({"intervall": 5})


async def test_after_the_first_round_the_models_are_known(fleet: Fleet, prober: Prober):
    prober.start()
    await prober.first_round()
    assert fleet.pool("m").choice.names == ("a", "b")
    assert repr(prober) == "<Prober <Rounds endpoints=2 unvisited=0>>"


async def test_a_hanging_health_route_delays_nobody_and_counts_as_bad(
    fleet: Fleet, engines: Engines, prober: Prober, clock: FakeClock
):
    engines["a"].hanging.add("/health")
    prober.start()
    await clock.run(20)
    assert fleet.endpoints["a"].standing.health == "down"
    assert fleet.endpoints["b"].standing.health == "up"
    assert engines["b"].asked.count("/health") == 5


async def test_an_endpoint_that_falls_is_out_and_is_back_soon_after_it_returns(
    fleet: Fleet, engines: Engines, prober: Prober, clock: FakeClock
):
    prober.start()
    await clock.run(1)
    engines["a"].health = engines["b"].health = None
    await clock.run(16)
    with pytest.raises(NoHealthyEndpoint) as refusal:
        await fleet.pool("m").enter(make_call(), ())
    assert refusal.value.retry_after == 1
    assert sorted(fleet.models()) == ["m"]
    engines["a"].health = 200
    await clock.run(2.1)
    assert (await fleet.pool("m").enter(make_call(), ()))[0].name == "a"


async def test_a_breaker_opened_by_connect_failures_is_half_open_after_two_seconds(
    fleet: Fleet, prober: Prober, clock: FakeClock
):
    prober.start()
    await clock.run(1)
    break_open(fleet.endpoints["a"], REFUSED)
    await settle()
    await clock.run(1.1)
    assert fleet.endpoints["a"].breaker.state == "half_open"


async def test_a_draining_engine_is_back_with_the_process_that_replaces_it(
    fleet: Fleet, engines: Engines, prober: Prober, clock: FakeClock
):
    engines["a"].completion = 404
    prober.start()
    await clock.run(1)
    fleet.endpoints["a"].learn(make_call(), EndpointFailed(draining=True))
    await clock.run(5)
    assert fleet.endpoints["a"].reason_unavailable() == "draining"
    engines["a"].health = None
    await clock.run(4)
    assert fleet.endpoints["a"].reason_unavailable() == "down"
    engines["a"].health = 200
    await clock.run(3)
    assert fleet.endpoints["a"].available


async def test_endpoints_that_come_are_probed_and_those_that_leave_are_not(
    fleet: Fleet, engines: Engines, prober: Prober, clock: FakeClock
):
    prober.start()
    await settle()
    fleet.apply(make_plan(spec("b", models=None), spec("c", models=None)))
    await clock.run(11)
    assert engines["a"].asked.count("/health") == 1
    assert engines["c"].asked.count("/health") == 3
    assert fleet.pool("m").choice.names == ("b", "c")


async def test_a_suspected_endpoint_is_asked_at_once(
    fleet: Fleet, engines: Engines, prober: Prober, clock: FakeClock
):
    prober.start()
    await clock.run(1)
    engines["a"].completion = 500
    fleet.endpoints["a"].learn(make_call(), FirstByteTimeout())
    await settle()
    await clock.run(0.1)
    assert fleet.endpoints["a"].reason_unavailable() == "stuck"
    engines["a"].completion = "length"
    await clock.run(1.2)
    assert fleet.endpoints["a"].available
    await prober.aclose()
