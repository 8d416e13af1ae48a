from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from app.core.errors import ModelNotFound, NoHealthyEndpoint, Overloaded
from app.core.failures import EndpointBusy, EndpointFailed, EndpointRefused, ModelMissing
from app.core.guard import Lease
from app.upstream.endpoint import LiveEndpoint
from app.upstream.fleet import Fleet
from app.upstream.plan import ModelRouting
from app.upstream.pool import ModelPool
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import SUCCESS, break_open, limited, make_call, make_fleet, make_plan, spec


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def pool_of(fleet: Fleet, model: str = "m") -> ModelPool:
    pool = fleet.pool(model)
    assert pool is not None
    return pool


async def enter(fleet: Fleet, *tried: str) -> tuple[LiveEndpoint, object]:
    return await pool_of(fleet).enter(make_call(), tried)


async def fill(fleet: Fleet, calls: int) -> list:
    return [await enter(fleet) for _ in range(calls)]


def start(fleet: Fleet, *tried: str, **fields) -> asyncio.Task:
    return asyncio.create_task(pool_of(fleet).enter(make_call(**fields), tried))


async def test_weights_are_kept_exactly(clock: FakeClock):
    fleet = make_fleet(spec("a", weight=3), spec("b", weight=1), clock=clock)
    served = Counter()
    for _ in range(4000):
        endpoint, lease = await enter(fleet)
        served[endpoint.name] += 1
        lease.settle(SUCCESS)
    assert served == {"a": 3000, "b": 1000}


# (what is so, who gets the next calls); endpoints: a, b in tier 0, c in tier 1; two places each
PREFER_B = {"models": {"m": ModelRouting(("b",))}}
ONLY_B = {"models": {"m": ModelRouting(("b",), strict_preferred=True)}}
PREFER_C = {"models": {"m": ModelRouting(("c",))}}


@pytest.mark.parametrize(
    ("fields", "prepare", "expected"),
    [
        ({}, lambda f: None, "abab"),
        ({}, lambda f: f.endpoints["a"].probed("down"), "bbcc"),
        ({}, lambda f: break_open(f.endpoints["a"]), "bbcc"),
        ({}, lambda f: f.drain("a"), "bbcc"),
        ({}, lambda f: f.eject("a"), "bbcc"),
        ({}, lambda f: f.endpoints["a"].learn(make_call(), EndpointBusy(retry_after=9)), "bbcc"),
        ({}, lambda f: f.endpoints["a"].learn(make_call(), EndpointFailed(draining=True)), "bbcc"),
        ({}, lambda f: f.endpoints["a"].learn(make_call(), ModelMissing()), "bbcc"),
        ({}, lambda f: f.endpoints["a"].learn(make_call("other"), ModelMissing()), "abab"),
        (PREFER_B, lambda f: None, "bbaacc"),
        (PREFER_C, lambda f: None, "ccabab"),
        (PREFER_B, lambda f: f.endpoints["b"].probed("down"), "aacc"),
        (ONLY_B, lambda f: None, "bb"),
        ({"spill": "down"}, lambda f: None, "abab"),
        ({"spill": "down"}, lambda f: f.endpoints["a"].probed("down"), "bb"),
        ({"spill": "down"}, lambda f: (f.endpoints["a"].probed("down"), f.drain("b")), "cc"),
        (
            {"spill": "down"},
            lambda f: (f.drain("a"), f.endpoints["b"].learn(make_call(), EndpointBusy())),
            "",
        ),
        ({"spill": "down", **PREFER_B}, lambda f: None, "bb"),
    ],
)
async def test_the_order_of_selection(clock: FakeClock, fields: dict, prepare, expected: str):
    fleet = make_fleet(
        spec("c", tier=1), spec("a"), spec("b"), clock=clock,
        endpoint_overrides=limited(a=2, b=2, c=2), **fields,
    )  # fmt: skip
    for _ in range(2):
        (await enter(fleet))[1].settle(SUCCESS)
    prepare(fleet)
    taken = ""
    while (chosen := pool_of(fleet).choose(make_call())) is not None and len(taken) < max(4, len(expected)):
        taken += chosen.name
        Lease().enter(make_call(), chosen.gates)
    assert taken == expected


async def test_the_cost_of_a_choice_does_not_grow_with_the_fleet(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock)
    await enter(fleet)
    pool_of(fleet).ejected = None
    assert [(await enter(fleet))[0].name for _ in range(3)] == ["b", "c", "a"]


async def test_a_strategy_need_not_look_anew_while_the_same_endpoints_are_free(clock: FakeClock):
    offered = []

    class Asked:
        def pick(self, call, endpoints):
            offered.append(endpoints)
            return endpoints[0]

    fleet = make_fleet(spec("a"), spec("b"), spec("c"), spec("d"), clock=clock)
    pool_of(fleet).strategy = Asked()
    fleet.drain("a")
    await fill(fleet, 2)
    fleet.drain("b")
    await fill(fleet, 2)
    first, second, third, fourth = offered
    assert first is second
    assert third is fourth
    assert [[endpoint.name for endpoint in each] for each in (first, third)] == [["b", "c", "d"], ["c", "d"]]


async def test_a_full_endpoint_is_passed_over_and_used_again(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=2))
    leases = [(await enter(fleet))[1] for _ in range(4)]
    assert [(await enter(fleet))[0].name for _ in range(3)] == ["b", "b", "b"]
    leases[0].settle(SUCCESS)
    assert "a" in [(await enter(fleet))[0].name for _ in range(3)]


async def test_an_endpoint_of_weight_zero_is_never_used(clock: FakeClock):
    fleet = make_fleet(spec("a", weight=0), clock=clock)
    with pytest.raises(NoHealthyEndpoint):
        await enter(fleet)


async def test_an_endpoint_that_does_not_serve_the_model_is_never_used(clock: FakeClock):
    fleet = make_fleet(spec("a", models={"other": "other"}), spec("b"), clock=clock)
    assert [(await enter(fleet))[0].name for _ in range(2)] == ["b", "b"]


async def test_a_tried_endpoint_is_not_tried_again(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    assert {(await enter(fleet, "a"))[0].name for _ in range(3)} == {"b"}
    with pytest.raises(NoHealthyEndpoint):
        await enter(fleet, "a", "b")


async def test_with_a_tier_tried_in_vain_the_next_is_used(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("c", tier=1), clock=clock, spill="down")
    assert (await enter(fleet, "a"))[0].name == "c"


async def test_the_gates_of_the_endpoint_are_passed(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    endpoint, lease = await enter(fleet)
    assert endpoint.inflight == 1
    lease.settle(SUCCESS)
    assert endpoint.inflight == 0


async def test_a_gate_that_refuses_after_all_sends_the_call_elsewhere(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    a = fleet.endpoints["a"]
    break_open(a)
    a.steady = True
    assert (await enter(fleet))[0].name == "b"
    assert a.inflight == 0


async def test_a_gate_that_breaks_leaves_nothing_held(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    a = fleet.endpoints["a"]

    class Broken:
        def admit(self, call):
            raise ZeroDivisionError

    a.gates = (*a.gates, Broken())
    with pytest.raises(ZeroDivisionError):
        await enter(fleet)
    assert a.inflight == 0


async def test_ejected_endpoints_are_used_when_nothing_else_is_left(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    fleet.eject("a")
    assert {(await enter(fleet))[0].name for _ in range(3)} == {"b"}
    assert (await enter(fleet, "b"))[0].name == "a"
    fleet.endpoints["b"].probed("down")
    assert (await enter(fleet))[0].name == "a"


async def test_an_ejected_endpoint_is_no_relief_for_full_ones(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(b=1))
    fleet.eject("a")
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    assert not waiting.done()
    fleet.restore("a")
    await settle()
    assert waiting.result()[0].name == "a"


async def test_panic_when_too_many_are_ejected(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock)
    fleet.eject("a")
    assert not pool_of(fleet).panic
    fleet.eject("b")
    assert pool_of(fleet).panic
    assert {(await enter(fleet))[0].name for _ in range(6)} == {"a", "b", "c"}


async def test_panic_never_reaches_endpoints_that_are_down_or_busy(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock)
    for name in "abc":
        fleet.eject(name)
    fleet.endpoints["a"].probed("down")
    fleet.endpoints["b"].learn(make_call(), EndpointBusy(retry_after=9))
    assert {(await enter(fleet))[0].name for _ in range(6)} == {"c"}


async def test_with_every_endpoint_out_the_soonest_return_is_told(clock: FakeClock):
    fleet = make_fleet(
        spec("a"), spec("b"), clock=clock,
        endpoint_overrides={"a": {"breaker": {"wait_in_open": 20}}, "b": {"breaker": {"wait_in_open": 500}}},
    )  # fmt: skip
    break_open(fleet.endpoints["a"])
    break_open(fleet.endpoints["b"])
    with pytest.raises(NoHealthyEndpoint) as refusal:
        await enter(fleet)
    assert refusal.value.retry_after == pytest.approx(fleet.endpoints["a"].back_in())
    with pytest.raises(NoHealthyEndpoint) as refusal:
        await enter(fleet, "a")
    assert refusal.value.retry_after == 60
    fleet.endpoints["b"].breaker = SimpleNamespace(ready=True, state="closed", reopens_in=None)
    fleet.endpoints["b"].probed("down")
    with pytest.raises(NoHealthyEndpoint) as refusal:
        await enter(fleet)
    assert refusal.value.retry_after == 1


async def test_with_every_endpoint_busy_the_caller_is_told_when_the_first_is_back(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock)
    fleet.endpoints["a"].learn(make_call(), EndpointBusy(retry_after=9))
    fleet.endpoints["b"].learn(make_call(), EndpointBusy(retry_after=5))
    fleet.endpoints["c"].probed("down")
    with pytest.raises(Overloaded) as refusal:
        await enter(fleet)
    assert refusal.value.retry_after == pytest.approx(5, rel=0.1)


async def test_what_all_endpoints_said_of_the_model_is_the_answer(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    fleet.endpoints["a"].learn(make_call(), ModelMissing())
    fleet.endpoints["b"].learn(make_call(), ModelMissing())
    with pytest.raises(ModelNotFound):
        await enter(fleet)
    fleet.endpoints["a"].learn(make_call(), EndpointRefused())
    with pytest.raises(NoHealthyEndpoint):
        await enter(fleet)
    fleet.endpoints["b"].learn(make_call(), EndpointRefused())
    with pytest.raises(EndpointRefused) as refusal:
        await enter(fleet)
    assert not refusal.value.elsewhere
    with pytest.raises(NoHealthyEndpoint):
        await enter(fleet, "a", "b")


async def test_the_name_at_the_endpoint_is_the_mapped_one(clock: FakeClock):
    fleet = make_fleet(spec("a", models={"m": "Meta-M"}), spec("b", models=None), clock=clock)
    pool = pool_of(fleet)
    assert pool.served_name(fleet.endpoints["a"]) == "Meta-M"
    assert pool.served_name(fleet.endpoints["b"]) == "m"
    assert pool.served_name(SimpleNamespace(spec=spec("x", models={}))) == "m"


async def test_a_freed_place_goes_to_the_longest_waiting_in_the_same_instant(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=1))
    [(endpoint, lease)] = await fill(fleet, 1)
    first, second = start(fleet), start(fleet)
    await settle()
    assert pool_of(fleet).queued == fleet.queued == 2
    lease.settle(SUCCESS)
    assert endpoint.inflight == 1, "no gap for a newcomer"
    newcomer = start(fleet)
    await settle()
    assert [task.done() for task in (first, second, newcomer)] == [True, False, False]
    for task in (second, newcomer):
        task.cancel()


async def test_a_waiter_takes_no_place_it_has_tried(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1, b=1))
    leases = {endpoint.name: lease for endpoint, lease in await fill(fleet, 2)}
    retried, fresh = start(fleet, "a"), start(fleet)
    await settle()
    leases["a"].settle(SUCCESS)
    await settle()
    assert (retried.done(), fresh.done()) == (False, True)
    leases["b"].settle(SUCCESS)
    await settle()
    assert retried.result()[0].name == "b"


async def test_a_queue_of_no_length_refuses_at_once(clock: FakeClock):
    fleet = make_fleet(
        spec("a"), clock=clock, resilience={"queue": {"max_length": 0}}, endpoint_overrides=limited(a=1)
    )
    await fill(fleet, 1)
    with pytest.raises(Overloaded):
        await enter(fleet)


async def test_a_waiter_is_served_when_an_endpoint_comes_up(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1))
    fleet.endpoints["b"].probed("down")
    await fill(fleet, 1)
    waiting = start(fleet)
    await settle()
    fleet.endpoints["b"].probed("up")
    await settle()
    assert waiting.result()[0].name == "b"


async def test_a_waiter_is_served_when_a_breaker_lets_probes_through(clock: FakeClock):
    fleet = make_fleet(
        spec("a"),
        spec("b"),
        clock=clock,
        endpoint_overrides=limited(a=1),
        resilience={"queue": {"max_wait": 99}},
    )
    break_open(fleet.endpoints["b"])
    await fill(fleet, 1)
    waiting = start(fleet)
    await clock.run(fleet.endpoints["b"].back_in() - 0.1)
    assert not waiting.done()
    await clock.run(0.2)
    assert waiting.result()[0].name == "b"


async def test_a_waiter_is_served_when_a_busy_endpoint_is_back_even_one_busy_since(clock: FakeClock):
    fleet = make_fleet(
        spec("a"), spec("b"), spec("c"), clock=clock, endpoint_overrides=limited(a=1),
        resilience={"queue": {"max_wait": 99}},
    )  # fmt: skip
    fleet.endpoints["b"].learn(make_call(), EndpointBusy(retry_after=30))
    fleet.drain("c")
    await fill(fleet, 1)
    waiting = start(fleet)
    await clock.run(1)
    fleet.resume("c")
    await settle()
    assert waiting.result()[0].name == "c"
    fleet.endpoints["c"].learn(make_call(), EndpointBusy(retry_after=30))
    waiting = start(fleet)
    await settle()
    fleet.endpoints["c"].standing.busy.until = 0
    fleet.endpoints["c"].learn(make_call(), EndpointBusy(retry_after=3))
    await clock.run(3.4)
    assert waiting.result()[0].name == "c"


async def test_a_waiter_is_served_when_a_timed_drain_is_over(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1))
    fleet.drain("b", 4)
    await fill(fleet, 1)
    waiting = start(fleet)
    await clock.run(4.1)
    assert waiting.result()[0].name == "b"


async def test_waiters_are_told_when_nothing_is_left_for_them(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=1))
    await fill(fleet, 1)
    waiting = start(fleet)
    await settle()
    fleet.endpoints["a"].probed("down")
    with pytest.raises(NoHealthyEndpoint):
        await waiting


async def test_a_cancelled_waiter_gives_the_place_it_was_handed_to_the_next(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=1))
    [(endpoint, lease)] = await fill(fleet, 1)
    first, second = start(fleet), start(fleet)
    await settle()
    lease.settle(SUCCESS)
    first.cancel()
    await settle()
    assert first.cancelled()
    second.result()[1].settle(SUCCESS)
    assert endpoint.inflight == 0


async def test_a_newcomer_does_not_overtake_those_who_wait(clock: FakeClock):
    fleet = make_fleet(
        spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1, b=1),
        resilience={"queue": {"max_wait": 99}},
    )  # fmt: skip
    fleet.endpoints["b"].learn(make_call(), EndpointBusy(retry_after=3))
    await fill(fleet, 1)
    waiting = start(fleet)
    await settle()
    clock.now += 3.5  # b is back, and no timer has fired yet
    newcomer = start(fleet)
    await settle()
    assert waiting.result()[0].name == "b"
    assert not newcomer.done()
    newcomer.cancel()


async def test_its_repr_and_view_show_live_state(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    assert repr(pool_of(fleet)) == "<ModelPool m endpoints=['a', 'b'] queued=0>"
    assert pool_of(fleet).view() == {"endpoints": ["a", "b"], "queued": 0, "panic": False}


async def test_a_tenant_at_its_share_waits_beside_free_places(clock: FakeClock):
    fleet = make_fleet(
        spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=2, b=2),
        resilience={"queue": {"tenant_share": 75}},
    )  # fmt: skip
    leases = [(await pool_of(fleet).enter(make_call(tenant="a"), ()))[1] for _ in range(3)]
    fourth = start(fleet, tenant="a")
    await settle()
    assert not fourth.done()
    _, other = await pool_of(fleet).enter(make_call(tenant="b"), ())
    second = start(fleet, tenant="b")
    await settle()
    other.settle(SUCCESS)
    await settle()
    assert (second.done(), fourth.done()) == (True, False)
    leases[0].settle(SUCCESS)
    await settle()
    assert fourth.done()


async def test_a_share_may_be_set_and_taken_back_while_calls_run(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=4))
    pool = pool_of(fleet)
    await fill(fleet, 1)
    half = pool.room.options.model_copy(update={"tenant_share": 50})
    pool.equip(half)
    _, counted = await enter(fleet)
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    assert not waiting.done()
    pool.equip(half.model_copy(update={"tenant_share": 75}))
    counted.settle(SUCCESS)
    await settle()
    assert waiting.done()
    pool.equip(half.model_copy(update={"tenant_share": 100}))
    await enter(fleet)


async def test_place_for_right_now_is_one_that_was_not_tried(clock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    found = pool_of(fleet).enter_now(make_call(), ["a"])
    assert found is not None
    endpoint, lease = found
    assert (endpoint.name, endpoint.inflight) == ("b", 1)
    lease.settle(SUCCESS)
    assert pool_of(fleet).enter_now(make_call(), ["a", "b"]) is None


async def test_place_for_right_now_is_never_waited_for(clock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1, b=1))
    await fill(fleet, 2)
    assert pool_of(fleet).enter_now(make_call(), ["a"]) is None
    assert fleet.queued == 0


async def test_place_for_right_now_is_not_taken_from_those_who_wait(clock):
    """b has room, but somebody who tried a waits for c; nobody overtakes."""
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock, endpoint_overrides=limited(c=1))
    leases = [await enter(fleet, "a", "b")]
    waiting = start(fleet, "a", "b")
    await settle()
    assert pool_of(fleet).enter_now(make_call(), ["a"]) is None
    leases[0][1].settle(SUCCESS)
    _, lease = await waiting
    lease.settle(SUCCESS)
    assert pool_of(fleet).enter_now(make_call(), ["a"]) is not None


def test_hedging_is_a_matter_of_the_model_and_what_it_learnt_outlives_a_reload():
    section = {"m": {"hedge": {"enabled": True}}}
    fleet = make_fleet(spec("a"))
    assert pool_of(fleet).hedge is None
    fleet.apply(make_plan(spec("a"), model_overrides=section))
    hedge = pool_of(fleet).hedge
    assert hedge is not None
    fleet.apply(make_plan(spec("a"), spec("b"), model_overrides=section))
    assert pool_of(fleet).hedge is hedge
    fleet.apply(make_plan(spec("a"), model_overrides={"m": {"hedge": {"enabled": True, "percentile": 90}}}))
    assert pool_of(fleet).hedge is not hedge
    fleet.apply(make_plan(spec("a")))
    assert pool_of(fleet).hedge is None


class Sticky:
    """A strategy with a memory, and a copy of it for every rehearsal."""

    def __init__(self) -> None:
        self.picked: list[str] = []

    def pick(self, call, endpoints):
        endpoint = endpoints[len(self.picked) % len(endpoints)]
        self.picked.append(endpoint.name)
        return endpoint


def test_rehearsal_finds_what_the_next_call_will_and_leaves_no_trace(clock):
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), clock=clock)
    pool = pool_of(fleet)
    pool.strategy = Sticky()
    for _ in range(5):
        expected = [pool.rehearse(make_call()).name for _ in range(3)]
        assert {pool.choose(make_call()).name} == set(expected)
    assert len(pool.strategy.picked) == 5
    assert fleet.inflight == 0
