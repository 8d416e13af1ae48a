from __future__ import annotations

from tests.unit.upstream.fleets import make_plan, spec


def test_the_nearest_option_wins():
    plan = make_plan(
        spec("a"),
        resilience={"timeouts": {"idle": 1, "connect": 1, "total": 1}},
        model_overrides={"m": {"timeouts": {"idle": 2, "connect": 2}}},
        endpoint_overrides={"a": {"timeouts": {"idle": 3}}},
    )
    timeouts = plan.resilience_for("m", "a").timeouts
    assert (timeouts.idle, timeouts.connect, timeouts.total) == (3, 2, 1)


def test_a_model_or_an_endpoint_may_be_left_out():
    plan = make_plan(
        spec("a"),
        model_overrides={"m": {"queue": {"max_length": 7}}},
        endpoint_overrides={"a": {"queue": {"max_length": 8}}},
    )
    assert plan.resilience_for("m", None).queue.max_length == 7
    assert plan.resilience_for(None, "a").queue.max_length == 8
    assert plan.resilience_for(None, None).queue.max_length == 1024
    assert plan.resilience_for("other", "other") == plan.resilience


def test_options_are_resolved_once():
    plan = make_plan(spec("a"), endpoint_overrides={"a": {"queue": {"max_length": 8}}})
    assert plan.resilience_for("m", "a") is plan.resilience_for("m", "a")


def test_resolved_options_do_not_make_plans_differ():
    plan, same = make_plan(spec("a")), make_plan(spec("a"))
    plan.resilience_for("m", "a")
    assert plan == same
