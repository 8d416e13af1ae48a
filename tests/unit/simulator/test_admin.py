from __future__ import annotations

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import Line, ask, chat, get, occupied, post, until


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.001, itl=0.001, api_keys=("k",)) as simulator:
        yield simulator


async def test_faults_are_armed_listed_and_cleared(sim):
    spec = {"fault": "rst", "after_tokens": 3, "count": 2, "match": {"path": "/v1/completions"}}
    armed = (await ask(sim, post(spec, "/sim/faults"))).json()
    assert (armed["fault"], armed["after_tokens"], armed["match"]["path"]) == ("rst", 3, "/v1/completions")
    assert [row["count"] for row in (await ask(sim, get("/sim/faults"))).json()] == [2]
    await ask(sim, post({}, "/sim/faults").replace(b"POST", b"DELETE"))
    assert sim.faults.armed() == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"fault":"nonsense"}'])
async def test_nonsense_is_refused(sim, body):
    assert (await ask(sim, post(body, "/sim/faults"))).status == 400


async def test_unknown_routes_are_not_found(sim):
    assert (await ask(sim, get("/sim/nonsense"))).status == 404


async def test_the_truth_is_told_and_reset_without_counting_itself(sim):
    await ask(sim, post(chat("short"), authorization="Bearer k", x_request_id="a"))
    truth = (await ask(sim, get("/sim/truth"))).json()
    assert truth["counters"]["requests"] == 1
    assert [(row["request_id"], row["generated"]) for row in truth["requests"]] == [("a", 4)]
    assert "body" not in truth["requests"][0]
    sim.unload()
    sim.pause()
    state = (await ask(sim, post({}, "/sim/reset"))).json()
    assert (state["paused"], state["unloaded"]) == (False, False)
    assert (await ask(sim, get("/sim/truth"))).json()["requests"] == []
    assert sim.truth.counters.connections_open <= 1


async def test_options_are_changed(sim):
    assert (await ask(sim, post({"itl": 0.5}, "/sim/options"))).json()["itl"] == 0.5
    assert (await ask(sim, post({"itl": -1}, "/sim/options"))).status == 400
    assert sim.instance.options.itl == 0.5


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("pause", "paused", True),
        ("resume", "paused", False),
        ("sleep", "sleep_level", 1),
        ("wake", "sleep_level", None),
        ("unload", "unloaded", True),
        ("load", "unloaded", False),
        ("kill-engine", "dead", True),
        ("terminate", "draining", True),
    ],
)
async def test_switches(sim, path, field, value):
    assert (await ask(sim, post({}, f"/sim/{path}"))).json()[field] == value


async def test_the_port_can_be_closed_and_opened(sim):
    async with await Line.to(sim) as line:
        await line.ask(post({}, "/sim/refuse"))
        assert not sim.listening
        await line.ask(post({}, "/sim/faults").replace(b"POST", b"DELETE"))
        await until(lambda: sim.listening)


async def test_the_port_opens_again_by_itself_where_told_to(sim):
    await ask(sim, post({"seconds": 0.02}, "/sim/refuse"))
    assert not sim.listening
    await until(lambda: sim.listening)
    async with await Line.to(sim) as line:
        await line.ask(post({"seconds": 60}, "/sim/refuse"))
        await line.ask(post({}, "/sim/accept"))
        await until(lambda: sim.listening)


async def test_the_state_shows_what_runs(sim):
    sim.adjust(api_keys=(), max_num_seqs=1, itl=1.0)
    async with occupied(sim, 2):
        state = (await ask(sim, get("/sim/state"))).json()
    assert (state["running"], state["waiting"], state["generations"]) == (1, 1, 2)


async def test_killing_the_engine_closes_the_port_too(sim):
    await ask(sim, post({}, "/sim/kill-engine"))
    assert not sim.listening
