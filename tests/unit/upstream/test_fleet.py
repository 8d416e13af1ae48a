from __future__ import annotations

import asyncio
import json
import logging

import pytest

from app.core.errors import NoHealthyEndpoint, NotFound
from app.core.failures import EndpointBusy, ModelMissing
from app.upstream.catalogue import ModelCard
from app.upstream.fleet import Fleet
from app.upstream.plan import ModelRouting
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import SUCCESS, break_open, limited, make_call, make_fleet, make_plan, spec


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def enter(fleet: Fleet, model: str = "m"):
    return await fleet.pool(model).enter(make_call(model), ())


def start(fleet: Fleet, model: str = "m") -> asyncio.Task:
    return asyncio.create_task(enter(fleet, model))


def test_there_is_a_pool_for_every_model_served_or_configured():
    fleet = make_fleet(
        spec("a"), spec("b", models={"m": "m", "n": "N"}), models={"configured": ModelRouting()}
    )
    assert sorted(fleet.pools) == ["configured", "m", "n"]
    assert fleet.pool("nobody") is None
    assert fleet.pool("m").choice.names == ("a", "b")
    assert fleet.pool("n").choice.names == ("b",)
    assert fleet.pool("configured").choice.names == ()


async def test_before_its_models_are_known_an_endpoint_is_tried_for_the_configured_ones():
    fleet = make_fleet(spec("a", models=None), models={"m": ModelRouting()})
    assert (await enter(fleet))[0].name == "a"
    fleet.endpoints["a"].list_models({"n": ModelCard()}, 1.0)
    with pytest.raises(NoHealthyEndpoint):
        await enter(fleet)
    assert (await enter(fleet, "n"))[0].name == "a"


def test_models_are_merged_and_stay_while_their_endpoint_is_down(clock: FakeClock):
    fleet = make_fleet(spec("a", models=None), spec("b", models={"b-only": "x"}), clock=clock)
    assert fleet.models() == {"b-only": {}}
    a = fleet.endpoints["a"]
    a.list_models({"m": ModelCard(created=3, root="/m", max_model_len=2048)}, 1.0)
    a.probed("down")
    assert fleet.models()["m"] == {"created": 3, "root": "/m", "max_model_len": 2048}
    fleet.apply(make_plan(spec("b", models={"b-only": "x"})))
    assert list(fleet.models()) == ["b-only"]


def test_a_configured_model_nobody_serves_is_not_listed():
    assert make_fleet(spec("a"), models={"ghost": ModelRouting()}).models() == {"m": {}}


async def test_a_marked_model_is_used_again_once_it_is_listed(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    fleet.endpoints["a"].learn(make_call(), ModelMissing())
    assert fleet.pool("m").choice.names == ("b",)
    clock.advance(5)
    fleet.endpoints["a"].list_models({"m": ModelCard()}, clock.monotonic())
    assert fleet.pool("m").choice.names == ("a", "b")


async def test_a_reload_keeps_what_is_known_of_unchanged_endpoints(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    a, pool = fleet.endpoints["a"], fleet.pool("m")
    strategy = pool.strategy
    _, lease = await enter(fleet)
    break_open(a)
    a.probed("down")
    fleet.apply(make_plan(spec("b"), spec("a"), spec("c")))
    assert list(fleet.endpoints) == ["b", "a", "c"]
    assert fleet.endpoints["a"] is a
    assert fleet.pool("m") is pool
    assert pool.strategy is strategy
    assert (a.breaker.state, a.standing.health, a.inflight) == ("open", "down", 1)
    lease.settle(SUCCESS)
    assert fleet.inflight == 0


async def test_a_reload_with_other_options_loses_no_call(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    _, lease = await enter(fleet)
    fleet.apply(make_plan(spec("a", weight=5), endpoint_overrides=limited(a=1)))
    a = fleet.endpoints["a"]
    assert (a.inflight, a.bulkhead.limit, a.spec.weight, a.has_room) == (1, 1, 5, False)
    waiting = start(fleet)
    await settle()
    lease.settle(SUCCESS)
    await settle()
    assert waiting.done()
    assert fleet.inflight == 1


async def test_a_reload_that_makes_room_serves_those_who_wait(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=1))
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    fleet.apply(make_plan(spec("a"), endpoint_overrides=limited(a=2)))
    await settle()
    assert waiting.done()


async def test_a_removed_endpoint_finishes_its_calls_and_gets_no_more(clock: FakeClock):
    heard = []
    fleet = Fleet(make_plan(spec("a"), spec("b")), clock, lambda e, word: heard.append((e.name, word)))
    assert heard == [("a", "added"), ("b", "added")]
    first, lease = await enter(fleet)
    assert first.name == "a"
    fleet.apply(make_plan(spec("b")))
    assert heard[2:] == [("a", "removed")]
    assert not first.available
    assert fleet.inflight == 1
    status = fleet.status()
    assert [(row["name"], row["state"]) for row in status["leaving"]] == [("a", "leaving")]
    assert [row["name"] for row in status["endpoints"]] == ["b"]
    lease.settle(SUCCESS)
    assert fleet.status()["leaving"] == []
    assert (await enter(fleet))[0].name == "b"


async def test_what_a_leaving_endpoint_still_does_is_told_to_nobody(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    a, lease = await enter(fleet)
    _, other = await enter(fleet)
    fleet.apply(make_plan())
    heard = []
    fleet.subscribe(lambda e, word: heard.append(word))
    a.learn(make_call(), ModelMissing())
    lease.settle(SUCCESS)
    assert fleet.inflight == 1
    other.settle(SUCCESS)
    assert (fleet.inflight, heard) == (0, [])


async def test_another_url_is_another_endpoint_but_a_drain_was_meant_for_the_name(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    old = fleet.endpoints["a"]
    break_open(old)
    fleet.drain("a", None, "kernel")
    fleet.apply(make_plan(spec("a", url="http://elsewhere:8000")))
    new = fleet.endpoints["a"]
    assert new is not old
    assert new.breaker.state == "closed"
    assert new.reason_unavailable() == "drained"
    assert old.reason_unavailable() == "leaving"


async def test_calls_waiting_for_a_model_that_is_gone_are_refused(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, endpoint_overrides=limited(a=1))
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    fleet.apply(make_plan(spec("b", models={"n": "n"})))
    with pytest.raises(NoHealthyEndpoint):
        await waiting
    assert fleet.pool("m") is None


async def test_calls_waiting_for_a_model_its_endpoint_unloaded_are_refused(clock: FakeClock):
    fleet = make_fleet(spec("a", models=None), clock=clock, endpoint_overrides=limited(a=1))
    a = fleet.endpoints["a"]
    a.list_models({"m": ModelCard()}, 1.0)
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    a.list_models({"n": ModelCard()}, 2.0)
    with pytest.raises(NoHealthyEndpoint):
        await waiting


async def test_other_queue_and_ejection_options_hold_from_the_reload_on(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    fleet.eject("a")
    fleet.apply(
        make_plan(
            spec("a"), spec("b"), resilience={"queue": {"max_length": 7}, "ejection": {"max_ejected": 10}}
        )
    )
    pool = fleet.pool("m")
    assert pool.room.options.max_length == 7
    assert pool.panic, "one of two is more than ten percent"


def test_another_strategy_replaces_the_old_one_everywhere(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    fleet.apply(make_plan(spec("a"), strategy="random"))
    assert type(fleet.pool("m").strategy).__name__ == "WeightedRandom"


def test_a_plan_that_cannot_be_changes_nothing(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock)
    plan = fleet.plan
    for bad in (
        make_plan(spec("b"), strategy="magic"),
        make_plan(spec("b"), endpoint_overrides={"b": {"bulkhead": {"max_concurrent_calls": 0}}}),
        make_plan(spec("b"), model_overrides={"m": {"nonsense": 1}}),
    ):
        with pytest.raises(ValueError):
            fleet.apply(bad)
    assert fleet.plan is plan
    assert list(fleet.endpoints) == ["a"]


async def test_of_models_that_had_no_turn_yet_the_longest_waiting_is_served_first(clock: FakeClock):
    fleet = make_fleet(spec("a", models={"m": "m", "n": "n"}), clock=clock, endpoint_overrides=limited(a=1))
    _, lease = await enter(fleet)
    of_n = start(fleet, "n")
    await clock.run(1)
    of_m = start(fleet, "m")
    await settle()
    assert fleet.queued == 2
    lease.settle(SUCCESS)
    await settle()
    assert (of_n.done(), of_m.done()) == (True, False)
    of_n.result()[1].settle(SUCCESS)
    await settle()
    assert of_m.done()


async def test_the_models_of_an_endpoint_are_served_in_turn_however_many_wait_for_one(clock: FakeClock):
    fleet = make_fleet(spec("a", models={"m": "m", "n": "n"}), clock=clock, endpoint_overrides=limited(a=1))
    _, lease = await enter(fleet)
    flood = [start(fleet, "m") for _ in range(5)]
    await clock.run(1)
    one = start(fleet, "n")
    await settle()
    for expected in ((1, False), (1, True), (2, True)):
        lease.settle(SUCCESS)
        await settle()
        done = [task for task in (*flood, one) if task.done()]
        assert (sum(task in flood for task in done), one in done) == expected
        lease = next(task.result()[1] for task in done if not task.result()[1].settled)
        await clock.run(1)
    for task in flood:
        task.cancel()


async def test_a_place_that_one_model_frees_is_seen_by_the_others():
    both = {"m": "m", "n": "n"}
    fleet = make_fleet(spec("a", models=both), spec("b", models=both), strategy="least_load")
    leases = {}
    for model in "mmnnnn":
        endpoint, lease = await enter(fleet, model)
        leases.setdefault(endpoint.name, []).append(lease)
    for lease in leases["b"]:
        lease.settle(SUCCESS)
    assert [(await enter(fleet, model))[0].name for model in "mnm"] == ["b", "b", "b"]


async def test_a_strategy_need_not_hear_of_loads(clock: FakeClock):
    fleet = make_fleet(spec("a"), clock=clock, strategy="round_robin")
    (await enter(fleet))[1].settle(SUCCESS)
    assert list(fleet.endpoints["a"].followers) == []


async def test_operators_drain_resume_eject_and_restore(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock)
    fleet.drain("a", reason="kernel")
    assert {(await enter(fleet))[0].name for _ in range(3)} == {"b"}
    fleet.resume("a")
    fleet.eject("b", reason="slow")
    assert {(await enter(fleet))[0].name for _ in range(3)} == {"a"}
    rows = {row["name"]: row for row in fleet.status()["endpoints"]}
    assert (rows["b"]["state"], rows["b"]["ejected"], rows["b"]["eject_reason"]) == ("ejected", True, "slow")
    assert (rows["a"]["state"], rows["a"]["ejected"], rows["a"]["eject_reason"]) == ("up", False, "")
    fleet.restore("b")
    assert {(await enter(fleet))[0].name for _ in range(4)} == {"a", "b"}


async def test_an_ejection_for_a_time_ends_by_itself_and_lets_the_waiting_in(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b"), clock=clock, endpoint_overrides=limited(a=1))
    fleet.eject("b", 5)
    await enter(fleet)
    waiting = start(fleet)
    await clock.run(4)
    assert not waiting.done()
    await clock.run(1.1)
    assert waiting.result()[0].name == "b"
    assert not fleet.status()["endpoints"][1]["ejected"]


def test_an_ejection_holds_for_models_that_come_later(clock: FakeClock):
    fleet = make_fleet(spec("a"), spec("b", models=None), clock=clock)
    fleet.eject("b")
    fleet.endpoints["b"].list_models({"m": ModelCard(), "n": ModelCard()}, 1.0)
    assert fleet.pool("m").ejected() == {"b"}


@pytest.mark.parametrize("action", ["drain", "resume", "eject", "restore"])
def test_an_unknown_name_is_said_to_be_unknown(action: str):
    with pytest.raises(NotFound):
        getattr(make_fleet(spec("a")), action)("nobody")


async def test_status_is_one_json(clock: FakeClock):
    fleet = make_fleet(
        spec("a", models={"m": "m", "n": "n"}), spec("b"), clock=clock, endpoint_overrides=limited(a=1, b=1)
    )
    fleet.endpoints["a"].learn(make_call("n"), ModelMissing())
    await enter(fleet)
    await enter(fleet)
    waiting = start(fleet)
    await settle()
    status = json.loads(json.dumps(fleet.status(), allow_nan=False))
    assert (status["inflight"], status["queued"]) == (2, 1)
    a, b = status["endpoints"]
    assert (a["name"], a["models"], a["queued"], a["inflight"]) == ("a", ["m"], 1, 1)
    assert b["models"] == ["m"]
    assert status["models"]["m"] == {"endpoints": ["a", "b"], "queued": 1, "panic": False}
    assert repr(fleet) == "<Fleet endpoints=2 inflight=2 queued=1>"
    waiting.cancel()


def test_changes_are_logged_and_being_busy_is_not(clock: FakeClock, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    fleet = make_fleet(spec("a"), clock=clock)
    fleet.endpoints["a"].learn(make_call(), EndpointBusy())
    fleet.endpoints["a"].probed("down")
    fleet.endpoints["a"].probed("up")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "endpoint a: added"),
        ("WARNING", "endpoint a: down"),
        ("INFO", "endpoint a: up"),
    ]
