"""Where a call would go, told without sending it."""

from __future__ import annotations

from app.core.errors import NoHealthyEndpoint, Overloaded
from app.core.failures import ModelMissing
from app.gateway.catalog import Model
from app.resilience.hedge import Hedge, HedgeOptions
from app.wire.surfaces import SURFACES
from tests.unit.gateway.stage import prospects
from tests.unit.upstream.fleets import SUCCESS, limited, make_call, make_fleet, spec

M = Model("m")


def of(fleet, call=None, model=M):
    return prospects(fleet).of(call or make_call(), model)


def test_the_endpoint_is_the_one_that_the_next_call_gets():
    fleet = make_fleet(spec("a", weight=3), spec("b"))
    for _ in range(8):
        told, error = of(fleet)
        again, _ = of(fleet)
        assert error is None
        found = fleet.pool("m").choose(make_call())
        assert told["endpoint"] == again["endpoint"] == found.name


def test_nothing_is_taken():
    fleet = make_fleet(spec("a"), spec("b"))
    pool = fleet.pool("m")
    before = (dict(pool.strategy._order._credit), pool._calm)
    of(fleet)
    assert (pool.strategy._order._credit, pool._calm) == before
    assert fleet.inflight == fleet.queued == 0


def test_candidates_are_told_with_what_speaks_against_them():
    fleet = make_fleet(spec("a"), spec("b"))
    fleet.drain("a")
    told, _ = of(fleet)
    assert [(row["endpoint"], row["excluded"]) for row in told["candidates"]] == [
        ("a", "drained"),
        ("b", None),
    ]
    assert (told["would"], told["endpoint"]) == ("dispatch", "b")


def test_when_all_are_full_the_call_would_wait():
    fleet = make_fleet(spec("a"), endpoint_overrides=limited(a=1))
    fleet.endpoints["a"].bulkhead.admit(make_call())
    told, error = of(fleet)
    assert (told["would"], told["endpoint"], told["outbound"], error) == ("wait", None, None, None)
    assert told["queue"] == {"waiting": 0, "expected_wait_s": 0.0, "refuses": None}


def test_when_nobody_may_wait_the_call_would_be_refused():
    for queue, why in (({"max_length": 0}, "queue_full"), ({"max_wait": 0}, "queue_wait")):
        fleet = make_fleet(spec("a"), endpoint_overrides=limited(a=1), resilience={"queue": queue})
        fleet.endpoints["a"].bulkhead.admit(make_call())
        told, error = of(fleet)
        assert isinstance(error, Overloaded)
        assert (told["would"], told["error"]["code"]) == ("refuse", "overloaded")
        assert (error.reason, told["queue"]["refuses"]) == (why, why)


async def test_a_tenant_that_holds_its_share_would_wait():
    fleet = make_fleet(spec("a"), endpoint_overrides=limited(a=4), resilience={"queue": {"tenant_share": 25}})
    _, lease = await fleet.pool("m").enter(make_call(), ())
    assert of(fleet)[0]["would"] == "wait"
    lease.settle(SUCCESS)
    assert of(fleet)[0]["would"] == "dispatch"


def test_streams_that_would_be_carried_on_are_told_as_such():
    fleet, model = make_fleet(spec("a")), Model("m", resume=True)
    call = make_call(streams=True)
    assert of(fleet, call, model)[0]["resumes"]
    assert not of(fleet, call)[0]["resumes"]
    assert not of(fleet, model=model)[0]["resumes"]
    call.body = {"logprobs": True}
    assert not of(fleet, call, model)[0]["resumes"]


def test_when_all_are_down_the_call_would_be_refused():
    fleet = make_fleet(spec("a"))
    fleet.endpoints["a"].probed("down")
    told, error = of(fleet)
    assert isinstance(error, NoHealthyEndpoint)
    assert (told["would"], told["error"]["status"], told["error"]["retry_after_s"]) == ("refuse", 503, 1.0)


def test_what_all_endpoints_refused_would_be_refused():
    fleet = make_fleet(spec("a"))
    fleet.endpoints["a"].learn(make_call(), ModelMissing())
    told, error = of(fleet)
    assert (told["error"]["code"], error.status) == ("model_not_found", 404)


def test_a_model_without_endpoints_is_refused_and_nothing_else_is_known_of_it():
    told, error = of(make_fleet(spec("a")), model=Model("gone"))
    assert (told, error.status) == ({"model": "gone", "would": "refuse"}, 404)


def test_terms_are_those_of_the_model_and_the_endpoint():
    timeouts = {"first_byte": {"base": 10, "per_1k_prompt_tokens": 5, "max": 60}, "idle": 30}
    fleet = make_fleet(
        spec("a"),
        resilience={"timeouts": {"total": 100, "stream_total": 200}},
        model_overrides={"m": {"timeouts": timeouts, "retry": {"max_attempts": 3}}},
        endpoint_overrides={"a": {"timeouts": {"connect": 1}}},
    )
    told, _ = of(fleet, make_call(streams=True, prompt_estimate=4000))
    assert told["timeouts"] == {"connect_s": 1, "first_byte_s": 30, "idle_s": 30, "total_s": 200}
    assert told["max_attempts"] == 3
    told, _ = of(fleet)
    assert told["timeouts"] == {"connect_s": 1, "first_byte_s": None, "idle_s": None, "total_s": 100}


def test_hedging_is_told_as_it_would_be():
    fleet = make_fleet(spec("a"), model_overrides={"m": {"hedge": {"enabled": True, "minimum_calls": 1}}})
    stream = make_call(streams=True)
    assert of(fleet)[0]["hedge"] == {"covered": False, "after_s": None, "affordable": False}
    assert of(fleet, stream)[0]["hedge"] == {"covered": True, "after_s": None, "affordable": False}
    hedge = fleet.pool("m").hedge = Hedge(HedgeOptions(enabled=True, minimum_calls=1, budget_ratio=1))
    hedge.observe(stream, 0.5)
    hedge.deposit()
    assert of(fleet, stream)[0]["hedge"] == {"covered": True, "after_s": 0.5, "affordable": True}


def test_only_the_names_of_the_fields_that_change_are_told():
    fleet = make_fleet(spec("a", models={"m": "served"}))
    body = {"model": "m", "messages": [], "priority": 3, "stream": True}
    call = make_call(streams=True)
    call.body = body
    call.surface = SURFACES["/v1/chat/completions"]
    told, _ = of(fleet, call, Model("m", defaults={"temperature": 0.7}))
    assert told["outbound"] == {
        "added": ["stream_options", "temperature"],
        "removed": ["priority"],
        "changed": ["model"],
    }
    assert call.body is body
