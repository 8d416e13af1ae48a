"""The settings in the words of fleet and catalog."""

from __future__ import annotations

from app.settings import fleet_plan, offered, prices
from app.settings.tree import Settings
from app.upstream.plan import ModelRouting

SETTINGS = Settings(
    vllm_endpoints=[
        {"name": "a", "url": "http://a", "timeouts": {"idle": "10s"}},
        {"name": "b", "url": "http://b"},
    ],
    model_config={
        "m": {
            "preferred_endpoints": ["a"],
            "strict_preferred": True,
            "aliases": ["x"],
            "fallbacks": ["n"],
            "defaults": {"temperature": 0.7},
            "accounting": "final",
            "price": {"prompt": 0.2, "completion": 0.6},
            "timeouts": {"idle": "20s", "total": "30s"},
        },
        "n": {},
    },
    routing={"strategy": "p2c", "spill": "down"},
)


def test_the_nearest_override_wins():
    plan = fleet_plan(SETTINGS)
    assert plan.resilience_for("m", "a").timeouts.idle == 10
    assert plan.resilience_for("m", "a").timeouts.total == 30
    assert plan.resilience_for("m", "b").timeouts.idle == 20
    assert plan.resilience_for("n", "b") == SETTINGS.resilience


def test_the_plan_knows_endpoints_preferences_and_strategy():
    plan = fleet_plan(SETTINGS)
    assert [spec.name for spec in plan.endpoints] == ["a", "b"]
    assert plan.models == {"m": ModelRouting(("a",), True), "n": ModelRouting()}
    assert (plan.strategy, plan.spill) == ("p2c", "down")


def test_the_catalog_knows_names_and_defaults():
    model = offered(SETTINGS)["m"]
    assert (model.name, model.aliases, model.fallbacks) == ("m", ("x",), ("n",))
    assert (model.defaults, model.accounting) == ({"temperature": 0.7}, "final")


def test_only_models_with_a_price_have_one():
    assert prices(SETTINGS).keys() == {"m"}
    assert prices(SETTINGS)["m"].completion == 0.6
