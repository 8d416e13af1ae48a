from __future__ import annotations

import asyncio
import json

import pytest

from app.core.failures import EndpointFailed, FirstByteTimeout, ModelMissing
from app.core.guard import Lease
from app.upstream.checkup import SILENCE, Checkup
from app.upstream.endpoint import LiveEndpoint
from app.upstream.fleet import Fleet
from app.upstream.health import HealthOptions
from app.upstream.scraped import Scraped
from tests.clock import FakeClock
from tests.unit.upstream.engines import Engine, Engines
from tests.unit.upstream.fleets import FAILURE, REFUSED, break_open, make_call, make_fleet, spec

OPTIONS = HealthOptions()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def fleet(clock: FakeClock) -> Fleet:
    slow = {"breaker": {"wait_in_open": 1000, "max_wait_in_open": 1000}}
    return make_fleet(spec("a", models=None, api_key="k"), clock=clock, resilience=slow)


@pytest.fixture
def endpoint(fleet: Fleet) -> LiveEndpoint:
    return fleet.endpoints["a"]


@pytest.fixture
def checkup(endpoint: LiveEndpoint, engine: Engine, clock: FakeClock) -> Checkup:
    return Checkup(endpoint, control=Engines(a=engine).control(clock), clock=clock, options=OPTIONS)


async def test_one_good_probe_is_enough_at_first(checkup: Checkup, endpoint: LiveEndpoint, engine: Engine):
    assert await checkup() == OPTIONS.interval
    assert endpoint.standing.health == "up"
    assert engine.asked == ["/health", "/v1/models"]
    assert {headers["authorization"] for headers in engine.headers} == {"Bearer k"}


async def test_models_are_learnt_and_refreshed(checkup: Checkup, fleet: Fleet, engine: Engine):
    assert fleet.pool("m") is None
    await checkup()
    assert fleet.pool("m").choice.names == ("a",)
    engine.models = ("n",)
    await checkup()
    assert (fleet.pool("m"), list(fleet.models())) == (None, ["n"])


@pytest.mark.parametrize("trouble", ["refused", "hidden", "garbage"])
async def test_a_list_that_cannot_be_had_changes_nothing(
    checkup: Checkup, fleet: Fleet, endpoint: LiveEndpoint, engine: Engine, trouble: str
):
    await checkup()
    if trouble == "refused":
        engine.broken.add("/v1/models")
    elif trouble == "hidden":
        engine.models = None
    else:
        engine.models = (5,)
    await checkup()
    assert endpoint.standing.health == "up"
    assert list(fleet.models()) == ["m"]


async def test_a_marked_model_is_back_when_it_is_listed_again(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock
):
    await checkup()
    clock.advance(1)
    endpoint.learn(make_call(), ModelMissing())
    clock.advance(4)
    await checkup()
    assert endpoint.catalogue.marked("m") is None


@pytest.mark.parametrize("health", [None, 503, 404, 307])
async def test_down_after_three_bad_probes_and_up_after_two_good(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, health: int | None
):
    await checkup()
    engine.health = health
    pauses = [await checkup() for _ in range(3)]
    assert endpoint.standing.health == "down"
    assert pauses == [OPTIONS.interval, OPTIONS.interval, OPTIONS.interval_down]
    engine.health = 200
    assert await checkup() == OPTIONS.interval_down / 2
    assert endpoint.standing.health == "down"
    assert await checkup() == OPTIONS.interval
    assert endpoint.standing.health == "up"


async def test_only_bad_probes_in_a_row_count(checkup: Checkup, endpoint: LiveEndpoint, engine: Engine):
    for health in (503, 503, 200, 503, 503, 200):
        engine.health = health
        await checkup()
    assert endpoint.standing.health == "up"


async def test_only_good_probes_in_a_row_count(checkup: Checkup, endpoint: LiveEndpoint, engine: Engine):
    for health in (503, 503, 503, 200, 503, 200):
        engine.health = health
        await checkup()
    assert endpoint.standing.health == "down"


async def test_an_endpoint_never_reached_stays_unknown_until_it_is_down(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    engine.health = None
    assert await checkup() == OPTIONS.interval_down
    assert endpoint.standing.health == "unknown"


async def test_a_probe_never_overrules_calls_that_make_progress(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    engine.health = None
    for _ in range(5):
        endpoint.progressed_at = clock.monotonic() + 0.1  # a byte arrives while the probe is under way
        await checkup()
        clock.advance(1)
    assert endpoint.standing.health == "unknown"
    await checkup()
    assert endpoint.standing.health == "down"


async def test_a_breaker_opened_by_connect_failures_is_told_of_two_good_probes(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock, engine: Engine
):
    for _ in range(5):
        await checkup()
        clock.advance(5)
    break_open(endpoint, REFUSED)
    assert await checkup() == OPTIONS.interval_down / 2
    assert endpoint.breaker.state == "open"
    clock.advance(1)
    await checkup()
    assert endpoint.breaker.state == "half_open"
    assert "/v1/completions" not in engine.asked


async def test_good_probes_from_before_it_opened_again_do_not_count(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock
):
    break_open(endpoint, REFUSED)
    await checkup()
    clock.advance(1)
    endpoint.opened_at = clock.monotonic()
    await checkup()
    assert endpoint.breaker.state == "open"
    endpoint.opened_at = clock.monotonic() + 0.5  # it opens while the probe is under way
    await checkup()
    await checkup()
    assert endpoint.breaker.state == "open"


async def test_a_bad_probe_breaks_the_row(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock, engine: Engine
):
    break_open(endpoint, REFUSED)
    for health in (200, 503, 200):
        engine.health = health
        await checkup()
        clock.advance(1)
    assert endpoint.breaker.state == "open"


async def test_health_alone_never_readmits_an_endpoint_that_failed(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock, engine: Engine
):
    engine.hanging.add("/v1/completions")
    break_open(endpoint, FAILURE)
    engine.models = ()
    for _ in range(10):
        assert await checkup() in {OPTIONS.interval_down / 2, OPTIONS.interval_down}
        clock.advance(1)
    assert endpoint.breaker.state == "open"


async def test_a_completion_of_one_token_readmits_it(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    break_open(endpoint, FAILURE)
    await checkup()
    assert endpoint.breaker.state == "half_open"
    assert json.loads(engine.bodies[0])["max_tokens"] == 1
    assert json.loads(engine.bodies[0])["model"] == "m"


@pytest.mark.parametrize(
    "completion",
    [
        404,
        500,
        "abort",
        None,
        b"",
        b"{}",
        b'{"choices":[]}',
        b"[]",
        b'{"choices":[5]}',
        b"\xff",
        b"[" * 20_000,
    ],
)
async def test_any_other_answer_proves_nothing(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, completion
):
    break_open(endpoint, FAILURE)
    engine.completion = completion
    await checkup()
    assert engine.bodies
    assert endpoint.breaker.state == "open"


async def test_completions_are_asked_no_oftener_than_the_interval(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    break_open(endpoint, FAILURE)
    engine.completion = 500
    for _ in range(11):
        await checkup()
        clock.advance(1)
    assert engine.asked.count("/v1/completions") == 3


async def test_a_completion_that_cannot_be_asked_proves_nothing(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    break_open(endpoint, FAILURE)
    engine.broken.add("/v1/completions")
    await checkup()
    assert endpoint.breaker.state == "open"


async def test_an_engine_that_drains_is_asked_until_it_completes_something(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    endpoint.learn(make_call(), EndpointFailed(draining=True))
    engine.completion = 500
    assert await checkup() == OPTIONS.interval_down
    assert endpoint.reason_unavailable() == "draining"
    engine.completion = "length"
    clock.advance(5)
    await checkup()
    assert endpoint.available


async def test_a_healthy_endpoint_is_never_asked_for_completions(checkup: Checkup, engine: Engine):
    for _ in range(3):
        await checkup()
    assert engine.bodies == []


async def test_a_suspected_endpoint_is_asked_for_a_completion_at_once_and_at_the_faster_pace(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    await checkup()
    endpoint.learn(make_call(), FirstByteTimeout())
    engine.completion = 500
    for asked in (1, 2, 3):
        assert await checkup() == OPTIONS.interval_down
        assert len(engine.bodies) == asked
    assert endpoint.reason_unavailable() == "stuck"


async def test_a_suspected_endpoint_that_completes_is_cleared(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    await checkup()
    endpoint.belief.suspect("suspected")
    assert await checkup() == OPTIONS.interval
    assert (len(engine.bodies), endpoint.available) == (1, True)
    await checkup()
    assert len(engine.bodies) == 1


async def test_one_that_owes_a_completion_is_out_until_it_gives_one(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    endpoint.belief.suspect("suspected")
    engine.hanging.add("/v1/completions")
    visit = asyncio.create_task(checkup())
    await clock.run(OPTIONS.timeout)
    assert await visit == OPTIONS.interval_down
    assert endpoint.reason_unavailable() == "stuck"
    engine.hanging.clear()
    assert await checkup() == OPTIONS.interval
    assert endpoint.available
    assert endpoint.weight == 0.1


async def test_one_that_says_it_is_paused_is_called_so(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    await checkup()
    endpoint.belief.suspect("suspected")
    engine.completion, engine.paused = 500, True
    await checkup()
    assert endpoint.reason_unavailable() == "paused"


@pytest.mark.parametrize("answer", [404, 400, 429, 503])
async def test_where_nothing_can_be_learnt_the_suspicion_is_dropped(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, answer: int
):
    await checkup()
    endpoint.belief.suspect("suspected")
    engine.completion = answer
    await checkup()
    assert (len(engine.bodies), endpoint.available) == (1, True)
    assert not endpoint.belief.questionable


async def test_calls_that_make_progress_meanwhile_outweigh_a_completion_that_is_late(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    endpoint.belief.suspect("suspected")
    engine.hanging.add("/v1/completions")
    visit = asyncio.create_task(checkup())
    await clock.run(1)
    endpoint.progressed_at = clock.monotonic()
    await clock.run(OPTIONS.timeout)
    assert await visit == OPTIONS.interval
    assert endpoint.available


async def test_counters_that_move_meanwhile_outweigh_it_too(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    endpoint.belief.hear(Scraped(running=1, tokens=5, scraped_at=clock.monotonic()))
    endpoint.belief.suspect("suspected")
    engine.hanging.add("/v1/completions")
    visit = asyncio.create_task(checkup())
    await clock.run(1)
    endpoint.belief.hear(Scraped(running=1, tokens=6, scraped_at=clock.monotonic()))
    await clock.run(OPTIONS.timeout)
    await visit
    assert endpoint.available


async def test_a_byte_for_any_call_ends_a_suspicion_without_a_question(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    endpoint.belief.suspect("suspected")
    clock.advance(0.1)
    endpoint.progressed_at = clock.monotonic()
    assert await checkup() == OPTIONS.interval
    assert engine.bodies == []


async def test_silence_while_there_are_calls_is_looked_into_one_visit_later(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine, clock: FakeClock
):
    await checkup()
    clock.advance(100)
    lease = Lease()
    lease.enter(make_call(), endpoint.gates)
    clock.advance(SILENCE - 0.1)
    await checkup()
    assert not endpoint.belief.questionable
    clock.advance(0.1)
    assert await checkup() == OPTIONS.interval_down
    assert (endpoint.belief.questionable, engine.bodies) == (True, [])
    await checkup()
    assert len(engine.bodies) == 1
    lease.settle(FAILURE)


async def test_an_endpoint_without_calls_is_never_silent(
    checkup: Checkup, endpoint: LiveEndpoint, clock: FakeClock
):
    clock.advance(1000)
    await checkup()
    assert not endpoint.belief.questionable


async def test_a_sleeping_engine_is_asked_nothing_it_would_sleep_over(
    checkup: Checkup, endpoint: LiveEndpoint, engine: Engine
):
    await checkup()
    endpoint.belief.suspect("suspected")
    endpoint.belief.hear(Scraped(asleep=True, scraped_at=1.0))
    assert await checkup() == OPTIONS.interval_down
    assert engine.bodies == []
