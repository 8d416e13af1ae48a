from __future__ import annotations

import asyncio

import pytest

from app.core.errors import NoHealthyEndpoint
from app.core.failures import EndpointBusy, EndpointRefused, ModelMissing
from app.upstream.explain import NOTED, candidates
from app.upstream.plan import ModelRouting
from tests.clock import settle
from tests.unit.upstream.fleets import SUCCESS, break_open, limited, make_call, make_fleet, spec


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


async def noted(fleet, *tried: str):
    call = make_call()
    endpoint, lease = await fleet.pool("m").enter(call, tried)
    lease.settle(SUCCESS)
    return endpoint.name, call


async def test_a_call_in_calm_notes_nothing_but_whom_it_could_have_met():
    fleet = make_fleet(spec("a"), spec("b", tier=1), spec("c", weight=0))
    await noted(fleet)
    _, call = await noted(fleet)
    assert call.notes == ()
    assert call.candidates == (("a", 0, None), ("b", 1, None), ("c", 2, "weight"))


async def test_a_call_notes_what_spoke_against_the_others_when_it_was_dispatched():
    fleet = make_fleet(*(spec(name) for name in "abcdef"), endpoint_overrides=limited(a=1))
    fleet.endpoints["a"].bulkhead.admit(make_call())
    break_open(fleet.endpoints["b"])
    fleet.endpoints["c"].learn(make_call(), EndpointBusy())
    fleet.eject("d")
    name, call = await noted(fleet, "e")
    assert name == "f"
    assert [(note.what, dict(note.told)) for note in call.notes] == [
        ("excluded", {"a": "full", "b": "open", "c": "busy", "d": "ejected", "e": "tried"})
    ]
    fleet.drain("f")
    assert dict(call.notes[0].told).get("f") is None


async def test_the_place_a_call_takes_itself_is_not_against_it():
    fleet = make_fleet(spec("a"), spec("b"), endpoint_overrides=limited(a=1, b=1))
    await noted(fleet)
    fleet.drain("b")
    _, call = await noted(fleet)
    assert [dict(note.told) for note in call.notes] == [{"b": "drained"}]


async def test_a_call_that_waits_notes_why():
    fleet = make_fleet(spec("a"), endpoint_overrides=limited(a=1))
    _, held = await fleet.pool("m").enter(make_call(), ())
    call = make_call()
    waiting = asyncio.ensure_future(fleet.pool("m").enter(call, ()))
    await settle()
    held.settle(SUCCESS)
    _, lease = await waiting
    lease.settle(SUCCESS)
    assert [(note.what, note.told) for note in call.notes] == [
        ("excluded", (("a", "full"),)),
        ("waits", "room"),
    ]


async def test_a_call_of_a_tenant_that_holds_its_share_notes_that():
    share = {"queue": {"tenant_share": 25}}
    fleet = make_fleet(spec("a"), endpoint_overrides=limited(a=4), resilience=share)
    await noted(fleet)
    _, held = await fleet.pool("m").enter(make_call(), ())
    call = make_call()
    waiting = asyncio.ensure_future(fleet.pool("m").enter(call, ()))
    await settle()
    held.settle(SUCCESS)
    (await waiting)[1].settle(SUCCESS)
    assert [(note.what, note.told) for note in call.notes] == [("waits", "tenant_share")]


async def test_a_refused_call_notes_why():
    fleet = make_fleet(spec("a"), spec("b"))
    fleet.endpoints["a"].probed("down")
    break_open(fleet.endpoints["b"])
    call = make_call()
    with pytest.raises(NoHealthyEndpoint):
        await fleet.pool("m").enter(call, ())
    assert [dict(note.told) for note in call.notes] == [{"a": "down", "b": "open"}]


async def test_only_so_many_exclusions_are_noted():
    fleet = make_fleet(*(spec(f"gpu-{number}") for number in range(NOTED + 9)))
    for endpoint in list(fleet.endpoints.values())[1:]:
        fleet.drain(endpoint.name)
    _, call = await noted(fleet)
    assert len(call.notes[0].told) == NOTED


async def test_who_refused_the_model_is_told_as_out_for_good():
    fleet = make_fleet(spec("a"), spec("b"), spec("c"), models={"m": ModelRouting(("a", "b"), True)})
    fleet.endpoints["b"].learn(make_call(), ModelMissing())
    _, call = await noted(fleet)
    assert call.candidates == (("a", 0, None), ("b", 1, "model_missing"), ("c", 1, "not_preferred"))
