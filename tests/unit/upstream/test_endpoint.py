from __future__ import annotations

import copy
import json
import math

import pytest

from app.core.failures import (
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    FirstByteTimeout,
    IdleTimeout,
    ModelMissing,
    StreamBroken,
)
from app.core.guard import Lease
from app.upstream.catalogue import ModelCard
from app.upstream.endpoint import LiveEndpoint
from app.upstream.row import describe
from app.upstream.scraped import NOTHING, Scraped
from tests.clock import FakeClock
from tests.unit.upstream.fleets import (
    FAILURE,
    REFUSED,
    SUCCESS,
    break_open,
    make_call,
    make_plan,
    spec,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def freed() -> list[LiveEndpoint]:
    return []


@pytest.fixture
def endpoint(clock: FakeClock, heard: list[str], freed: list[LiveEndpoint]) -> LiveEndpoint:
    resilience = make_plan(resilience={"bulkhead": {"max_concurrent_calls": 2}}).resilience
    return LiveEndpoint(
        spec("a"), resilience, clock, freed.append, lambda _, word: heard.append(word), lambda: 0.0
    )


def enter(endpoint: LiveEndpoint) -> Lease:
    lease = Lease()
    lease.enter(make_call(), endpoint.gates)
    return lease


def test_it_serves_before_it_was_ever_probed(endpoint: LiveEndpoint):
    assert endpoint.available
    assert endpoint.has_room
    assert (endpoint.inflight, endpoint.load, endpoint.latency) == (0, 0, None)


def test_calls_are_counted_to_their_end(endpoint: LiveEndpoint, freed: list[LiveEndpoint]):
    first, second = enter(endpoint), enter(endpoint)
    first.answered()
    assert (endpoint.inflight, endpoint.has_room, endpoint.available) == (2, False, True)
    first.settle(SUCCESS)
    second.settle(SUCCESS)
    assert (endpoint.inflight, endpoint.has_room) == (0, True)
    assert freed == [endpoint, endpoint]


def test_load_is_in_flight_per_weight(endpoint: LiveEndpoint):
    enter(endpoint)
    endpoint.adopt(spec("a", weight=4), endpoint.resilience)
    assert endpoint.load == 0.25
    assert endpoint.available
    endpoint.adopt(spec("a", weight=0), endpoint.resilience)
    assert not endpoint.available
    assert math.isinf(endpoint.load)
    assert endpoint.reason_unavailable() == "weight"


def test_the_first_event_sets_the_latency(endpoint: LiveEndpoint, clock: FakeClock):
    lease = enter(endpoint)
    clock.advance(0.3)
    lease.answered()
    assert endpoint.latency == pytest.approx(0.3)


def test_an_open_breaker_takes_it_out_until_it_lets_probes_through(
    endpoint: LiveEndpoint, clock: FakeClock, heard: list[str]
):
    assert endpoint.available
    break_open(endpoint)
    assert heard == ["open"]
    assert endpoint.opened_at == clock.monotonic()
    assert endpoint.reason_unavailable() == "open"
    assert not endpoint.available
    assert endpoint.back_in() > 0
    clock.advance(endpoint.back_in())
    assert endpoint.available
    assert endpoint.back_in() == 0


def test_a_half_open_breaker_with_all_probes_out_takes_it_out(endpoint: LiveEndpoint, clock: FakeClock):
    break_open(endpoint)
    clock.advance(endpoint.back_in())
    permits = [endpoint.breaker.admit(make_call()) for _ in range(5)]
    assert endpoint.reason_unavailable() == "half_open"
    assert not endpoint.available
    for permit in permits:
        permit(SUCCESS)
    assert endpoint.available


def test_a_half_open_endpoint_is_never_taken_for_a_steady_one(endpoint: LiveEndpoint, clock: FakeClock):
    break_open(endpoint)
    clock.advance(endpoint.back_in())
    assert endpoint.available
    assert not endpoint.steady
    assert describe(endpoint)["state"] == "half_open"


def test_a_busy_endpoint_is_out_for_as_long_as_it_says(
    endpoint: LiveEndpoint, clock: FakeClock, heard: list[str]
):
    assert endpoint.available
    endpoint.learn(make_call(), EndpointBusy(retry_after=5.0))
    assert endpoint.reason_unavailable() == "busy"
    assert endpoint.breaker.state == "closed"
    assert endpoint.back_in() == 5.0
    assert heard == ["busy"]
    clock.advance(5.0)
    assert endpoint.available


def test_an_answer_ends_the_doubling_of_busy_pauses(endpoint: LiveEndpoint, clock: FakeClock):
    endpoint.learn(make_call(), EndpointBusy())
    clock.advance(1.0)
    enter(endpoint).answered()
    endpoint.learn(make_call(), EndpointBusy())
    assert endpoint.back_in() == 1.0


@pytest.mark.parametrize(("error", "word"), [(EndpointRefused(), "refusing"), (ModelMissing(), "models")])
def test_a_refused_model_is_marked_at_this_endpoint_only_for_that_model(
    endpoint: LiveEndpoint, error, word: str, heard: list[str]
):
    call = make_call("alias")
    call.target = "m"
    endpoint.learn(call, error)
    assert endpoint.catalogue.marked("m") is type(error)
    assert endpoint.catalogue.marked("alias") is None
    assert endpoint.available
    assert heard == [word]


def test_a_call_without_a_target_marks_the_name_it_used(endpoint: LiveEndpoint):
    call = make_call("m")
    call.target = ""
    endpoint.learn(call, ModelMissing())
    assert endpoint.catalogue.marked("m") is ModelMissing


@pytest.mark.parametrize("error", [EndpointFailed(draining=True), StreamBroken(draining=True)])
def test_a_draining_engine_gets_no_more_calls(endpoint: LiveEndpoint, error, heard: list[str]):
    assert endpoint.available
    endpoint.learn(make_call(), error)
    endpoint.learn(make_call(), error)
    assert endpoint.reason_unavailable() == "draining"
    assert not endpoint.available
    assert heard == ["draining"]


def test_other_failures_are_remembered_and_silence_arouses_suspicion(
    endpoint: LiveEndpoint, heard: list[str]
):
    endpoint.learn(make_call(), FirstByteTimeout())
    assert endpoint.last_error == "first_byte"
    assert endpoint.available
    assert heard == ["suspected"]


def test_probes_take_it_out_and_bring_it_back(endpoint: LiveEndpoint, heard: list[str]):
    assert endpoint.available
    endpoint.probed("down")
    endpoint.probed("down")
    assert not endpoint.available
    endpoint.probed("up")
    assert endpoint.available
    assert heard == ["down", "up"]


def test_a_completion_half_opens_the_breaker_and_ends_draining(endpoint: LiveEndpoint, heard: list[str]):
    break_open(endpoint, FAILURE)
    endpoint.learn(make_call(), EndpointFailed(draining=True))
    endpoint.completed()
    assert endpoint.breaker.state == "half_open"
    assert endpoint.available
    assert heard == ["open", "draining", "half_open", "up"]
    endpoint.completed()
    assert heard[4:] == []


def test_an_operator_drains_and_resumes_it(endpoint: LiveEndpoint, heard: list[str]):
    assert endpoint.available
    endpoint.drain(None, "kernel")
    assert endpoint.reason_unavailable() == "drained"
    assert describe(endpoint)["drain_reason"] == "kernel"
    endpoint.resume()
    assert endpoint.available
    assert heard == ["drained", "resumed"]


def test_leaving_is_for_ever(endpoint: LiveEndpoint):
    assert endpoint.available
    endpoint.leave()
    endpoint.resume()
    assert not endpoint.available


def test_a_new_list_of_models_is_told_once(endpoint: LiveEndpoint, heard: list[str], clock: FakeClock):
    endpoint.adopt(spec("a", models=None), endpoint.resilience)
    endpoint.list_models({"m": ModelCard(created=1)}, 1.0)
    endpoint.list_models({"m": ModelCard(created=1)}, 2.0)
    assert heard == ["models"]


def test_other_options_replace_only_what_they_are_about(endpoint: LiveEndpoint):
    lease = enter(endpoint)
    break_open(endpoint)
    breaker = endpoint.breaker
    endpoint.adopt(
        spec("a", weight=2), endpoint.resilience.overlaid({"bulkhead": {"max_concurrent_calls": 9}})
    )
    assert endpoint.breaker is breaker
    assert endpoint.breaker.state == "open"
    assert not endpoint.available
    assert (endpoint.inflight, endpoint.bulkhead.limit, endpoint.spec.weight) == (1, 9, 2)
    endpoint.adopt(spec("a"), endpoint.resilience.overlaid({"breaker": {"consecutive_failures": 9}}))
    assert endpoint.breaker is not breaker
    assert endpoint.gates[-1] is endpoint.breaker
    assert endpoint.available
    lease.settle(SUCCESS)
    assert endpoint.inflight == 0


def test_scraped_figures_are_forgotten_when_stale(endpoint: LiveEndpoint, clock: FakeClock):
    assert endpoint.scraped == NOTHING
    figures = Scraped(running=3, scraped_at=clock.monotonic(), stale_at=clock.monotonic() + 45)
    endpoint.belief.hear(figures)
    assert endpoint.scraped == figures
    clock.advance(45)
    assert endpoint.scraped == NOTHING


def test_its_view_is_json_whatever_its_state(endpoint: LiveEndpoint):
    view = json.loads(json.dumps(describe(endpoint), allow_nan=False))
    assert view["state"] == "up"
    assert view["health"] == "unknown"
    assert view["limit"] == 2
    break_open(endpoint, REFUSED)
    endpoint.adopt(spec("a", weight=0), endpoint.resilience)
    view = json.loads(json.dumps(describe(endpoint), allow_nan=False))
    assert (view["state"], view["breaker"], view["load"]) == ("weight", "open", None)


def test_its_repr_shows_live_state(endpoint: LiveEndpoint):
    enter(endpoint)
    assert repr(endpoint) == "<LiveEndpoint a available inflight=1/2>"
    endpoint.probed("down")
    assert repr(endpoint) == "<LiveEndpoint a down inflight=1/2>"


def test_a_recovered_endpoint_starts_with_a_tenth_of_its_weight(endpoint: LiveEndpoint, clock: FakeClock):
    endpoint.adopt(spec("a", weight=4), endpoint.resilience)
    enter(endpoint)
    assert endpoint.load == 0.25
    endpoint.probed("up")
    assert endpoint.weight == 4, "the first look is no recovery"
    endpoint.probed("down")
    endpoint.probed("up")
    assert (endpoint.weight, endpoint.load) == (0.4, 2.5)
    clock.advance(31)
    assert (endpoint.weight, endpoint.load) == (4, 0.25)


def test_its_followers_hear_of_freed_places_and_of_weight(endpoint: LiveEndpoint, clock: FakeClock):
    loads = []
    endpoint.followers = [lambda each: loads.append(each.load)]
    permits = [gate.admit(make_call()) for gate in endpoint.gates]
    assert loads == []
    endpoint.recover()
    clock.advance(31)
    assert [round(load, 1) for load in loads] == [10.0, 5.0, 3.3, 2.5, 2.0, 1.7, 1.4, 1.2, 1.1, 1.0]
    for permit in reversed(permits):
        permit(SUCCESS)
    assert loads[10:] == [0.0]


def test_a_copy_of_what_refers_to_it_refers_to_it(endpoint: LiveEndpoint):
    assert copy.deepcopy([endpoint]) == [endpoint]


RECOVERIES = {
    "breaker": lambda e, c: (
        break_open(e), c.advance(e.back_in()), [e.breaker.admit(make_call())(SUCCESS) for _ in range(3)]
    ),
    "drained by itself": lambda e, c: (e.learn(make_call(), EndpointFailed(draining=True)), e.completed()),
    "stuck": lambda e, c: (e.belief.seize("stuck"), e.completed()),
    "asleep": lambda e, c: (e.belief.hear(Scraped(asleep=True)), e.belief.hear(Scraped(asleep=False))),
    "a new process": lambda e, c: (
        e.belief.hear(Scraped(life=c.time() - 500, scraped_at=1.0)), e.belief.hear(Scraped(life=c.time() - 5, scraped_at=2.0))
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", RECOVERIES)
def test_every_way_back_begins_slowly(endpoint: LiveEndpoint, clock: FakeClock, how: str):
    assert endpoint.available
    RECOVERIES[how](endpoint, clock)
    assert endpoint.available
    assert endpoint.weight == 0.1


STARTS = {
    "the first scrape": (None, 5),
    "the same process": (5, 5),
    "a process that has run for long": (900, 500),
}


@pytest.mark.parametrize("how", STARTS)
def test_what_is_no_recovery_begins_with_all_of_it(endpoint: LiveEndpoint, clock: FakeClock, how: str):
    before, now = STARTS[how]
    endpoint.drain(None, "an operator knows")
    endpoint.resume()
    endpoint.belief.hear(Scraped(life=before and clock.time() - before, scraped_at=1.0))
    endpoint.belief.hear(Scraped(life=clock.time() - now, scraped_at=2.0))
    assert endpoint.weight == 1


def test_a_ramp_under_way_is_not_begun_anew_by_what_is_told_late(endpoint: LiveEndpoint, clock: FakeClock):
    endpoint.belief.hear(Scraped(life=clock.time() - 500, scraped_at=1.0))
    endpoint.probed("down")
    endpoint.probed("up")
    clock.advance(10)
    share = endpoint.ramp.share
    endpoint.belief.hear(Scraped(life=clock.time() - 12, scraped_at=2.0))
    assert endpoint.ramp.share == share > 0.1


def test_slow_start_may_be_switched_off(clock: FakeClock):
    resilience = make_plan(resilience={"ejection": {"slow_start": 0}}).resilience
    endpoint = LiveEndpoint(spec("a"), resilience, clock, lambda _: None, lambda *_: None)
    endpoint.probed("down")
    endpoint.probed("up")
    assert endpoint.weight == 1


def test_a_leaving_endpoint_leaves_no_timer(endpoint: LiveEndpoint, clock: FakeClock):
    endpoint.probed("down")
    endpoint.probed("up")
    endpoint.leave()
    assert all(timer.callback is None for _, _, timer in clock._due)


@pytest.mark.parametrize("error", [FirstByteTimeout(), IdleTimeout()])
def test_a_silent_call_makes_it_suspected_and_keeps_it_in(
    endpoint: LiveEndpoint, heard: list[str], error: FirstByteTimeout
):
    endpoint.learn(make_call(), error)
    endpoint.learn(make_call(), error)
    assert heard == ["suspected"]
    assert endpoint.available
    assert describe(endpoint)["suspected"]


def test_flat_counters_make_it_suspected(endpoint: LiveEndpoint, clock: FakeClock, heard: list[str]):
    for _ in range(3):
        endpoint.belief.hear(Scraped(running=1, tokens=7, scraped_at=clock.monotonic()))
        clock.advance(15)
    assert heard == ["suspected"]


def test_one_that_is_out_for_being_stuck_says_so_once_and_is_not_suspected_again(
    endpoint: LiveEndpoint, heard: list[str]
):
    endpoint.belief.seize("stuck")
    endpoint.belief.seize("stuck")
    endpoint.belief.suspect("suspected")
    endpoint.completed()
    endpoint.completed()
    assert heard == ["stuck", "up"]


def test_counters_that_move_bring_it_back(endpoint: LiveEndpoint, clock: FakeClock, heard: list[str]):
    endpoint.belief.hear(Scraped(running=1, tokens=7, scraped_at=1.0))
    endpoint.belief.seize("stuck")
    endpoint.belief.hear(Scraped(running=1, tokens=8, scraped_at=2.0))
    assert heard == ["stuck", "up"]


def test_one_whose_metrics_fall_silent_is_not_taken_to_sleep_for_ever(
    endpoint: LiveEndpoint, heard: list[str]
):
    endpoint.belief.hear(Scraped(asleep=True, tokens=7, scraped_at=1.0))
    assert endpoint.reason_unavailable() == "asleep"
    endpoint.belief.seize("stuck")
    endpoint.belief.hear(NOTHING)
    assert heard == ["asleep", "stuck", "awake"]
    assert endpoint.reason_unavailable() == "stuck", "silence is no sign of life"


def test_how_long_its_calls_have_been_silent(endpoint: LiveEndpoint, clock: FakeClock):
    clock.advance(100)
    assert endpoint.belief.silent_for() == 0.0
    lease = enter(endpoint)
    clock.advance(3)
    assert endpoint.belief.silent_for() == 3.0
    endpoint.progressed_at = clock.monotonic()
    clock.advance(1)
    assert endpoint.belief.silent_for() == 1.0
    lease.settle(SUCCESS)
    assert endpoint.belief.silent_for() == 0.0


def adaptive_plan(**options):
    resilience = {
        "bulkhead": {"max_concurrent_calls": 50},
        "adaptive": {"enabled": True, "initial": 20} | options,
    }
    return make_plan(resilience=resilience).resilience


def test_a_limit_that_moves_begins_below_the_bulkheads_and_is_seen(
    clock: FakeClock, freed: list[LiveEndpoint]
):
    endpoint = LiveEndpoint(spec("a"), adaptive_plan(), clock, freed.append, lambda *_: None)
    assert describe(endpoint)["limit"] == 20
    leases = [enter(endpoint) for _ in range(20)]
    assert not endpoint.has_room
    for lease in leases:
        lease.settle(SUCCESS)
    assert endpoint.inflight == 0


def test_a_limit_that_rises_frees_places_for_those_who_wait(clock: FakeClock, freed: list[LiveEndpoint]):
    endpoint = LiveEndpoint(spec("a"), adaptive_plan(), clock, freed.append, lambda *_: None)
    leases = []
    for _ in range(20):
        lease = Lease()
        lease.enter(make_call(streams=True), endpoint.gates)
        leases.append(lease)
    clock.advance(0.1)
    for lease in leases[:10]:
        lease.answered()
    assert endpoint.bulkhead.limit == 30
    assert len(freed) == 10


def test_what_was_scraped_moves_the_limit(clock: FakeClock, freed: list[LiveEndpoint]):
    endpoint = LiveEndpoint(spec("a"), adaptive_plan(), clock, freed.append, lambda *_: None)
    for _ in range(2):
        endpoint.belief.hear(Scraped(running=10, waiting=10, stale_at=clock.monotonic() + 45))
    assert endpoint.bulkhead.limit == 10


def test_other_options_keep_a_limit_that_moves_or_begin_it_or_end_it(
    clock: FakeClock, freed: list[LiveEndpoint]
):
    endpoint = LiveEndpoint(spec("a"), adaptive_plan(), clock, freed.append, lambda *_: None)
    moving = endpoint.adaptive
    endpoint.adopt(spec("a"), adaptive_plan().overlaid({"bulkhead": {"max_concurrent_calls": 12}}))
    assert endpoint.adaptive is moving
    assert endpoint.bulkhead.limit == 12
    endpoint.adopt(spec("a"), adaptive_plan(initial=7))
    assert endpoint.adaptive is not moving
    assert endpoint.bulkhead.limit == 7
    endpoint.adopt(spec("a"), adaptive_plan(enabled=False))
    assert endpoint.adaptive is None
    assert endpoint.bulkhead.limit == 50
    assert len(endpoint.gates) == 3
    endpoint.adopt(spec("a"), adaptive_plan())
    assert endpoint.bulkhead.limit == 20
    assert len(endpoint.gates) == 4


def test_what_is_believed_shows_in_its_repr(endpoint: LiveEndpoint, clock: FakeClock):
    endpoint.belief.suspect("suspected")
    assert repr(endpoint.belief) == f"<Belief a <Suspicion since={clock.monotonic()} flat=0>>"
