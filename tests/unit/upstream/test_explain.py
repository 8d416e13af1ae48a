from __future__ import annotations

from app.core.failures import EndpointBusy, EndpointRefused, ModelMissing
from app.upstream.explain import candidates
from app.upstream.plan import ModelRouting
from tests.unit.upstream.fleets import break_open, limited, make_call, make_fleet, spec


def excluded(fleet, model: str = "m") -> dict:
    return {row["endpoint"]: row["excluded"] for row in candidates(fleet, model)}


async def test_every_endpoint_is_there_with_what_speaks_against_it():
    names = (
        "free",
        "full",
        "other",
        "gone",
        "refused",
        "weight",
        "down",
        "open",
        "busy",
        "drained",
        "ejected",
    )
    fields = {"other": {"models": {"x": "x"}}, "weight": {"weight": 0}}
    fleet = make_fleet(
        *(spec(name, **fields.get(name, {})) for name in names), endpoint_overrides=limited(full=1)
    )
    endpoints = fleet.endpoints
    endpoints["full"].bulkhead.admit(make_call())
    endpoints["gone"].learn(make_call(), ModelMissing())
    endpoints["refused"].learn(make_call(), EndpointRefused())
    endpoints["down"].probed("down")
    break_open(endpoints["open"])
    endpoints["busy"].learn(make_call(), EndpointBusy())
    fleet.drain("drained")
    fleet.eject("ejected")
    expected = {name: name for name in names} | {"free": None, "other": "model", "gone": "model_missing"}
    assert excluded(fleet) == expected
    assert set(excluded(fleet, "nobody").values()) == {"model"}


def test_the_rows_tell_what_was_weighed():
    fleet = make_fleet(
        spec("a", tier=1, weight=3),
        spec("b"),
        models={"m": ModelRouting(("a",), strict_preferred=True)},
    )
    fleet.drain("b", 4)
    a, b = candidates(fleet, "m")
    assert a == {
        "endpoint": "a",
        "preferred": True,
        "tier": 1,
        "weight": 3,
        "inflight": 0,
        "limit": 256,
        "back_in": 0,
        "excluded": None,
    }
    assert (b["preferred"], b["back_in"], b["excluded"]) == (False, 4, "not_preferred")
