"""Endpoints that answer, and say no; or yes, and something that is not so."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.simulator import Simulator
from tests.faults.behaviours import END, SSE, chunk, in_turn, saying, whole
from tests.faults.contract import assert_refused
from tests.faults.fleets import Booked, fleet, hits, learnt, served, states
from tests.house import calls, chat, running, until
from tests.line import DONE, answer, error_body, event

BUSY = error_body(503, "Service Unavailable", "busy")
MISSING = error_body(404, "NotFoundError", "no such model", "model")


def refusing(status: int, body: bytes = b'{"error": "no"}', wait: int | None = None):
    after = b"" if wait is None else b"retry-after: %d\r\n" % wait
    return saying(whole(body, b"%d no" % status, after))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("no", "wait"),
    [
        (refusing(503, wait=5), (5, 5.5)),
        (refusing(503, BUSY), (1, 1.1)),
        (refusing(429, wait=5), (5, 5.5)),
        (refusing(429), (1, 1.1)),
    ],
    ids=["u30 until then", "u30 in vLLM's words", "u31 until then", "u31 no time"],
)
async def test_busy_endpoint_is_left_alone_for_as_long_as_it_says(no, wait, stream):
    async with fleet(no, healthy=1) as (gateway, (server,)):
        for _ in range(6):
            assert (await gateway.ask("short", stream=stream)).status_code == 200
        assert (hits(server), served(gateway)) == (1, 6)
        busy = gateway.house.fleet.endpoints["gpu-a"].standing.busy
        assert wait[0] - 1 < busy.left <= wait[1]
        assert learnt(gateway) == {("gpu-a", "ignored", "busy"): 1, ("gpu-b", "success", "none"): 6}
        assert states(gateway) == ["closed", "closed"]
        rows = await gateway.rows()
        assert [(row.state, row.endpoint) for row in rows] == [("settled", "gpu-b")] * 6
        assert sorted(row.attempts for row in rows) == [1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("status", [pytest.param(503, id="u30"), pytest.param(429, id="u31")])
async def test_u30_u31_all_busy_is_overloaded_with_the_longest_wait_and_costs_the_tenant_nothing(status):
    async with fleet(refusing(status, wait=3), refusing(status, wait=7)) as (gateway, servers):
        await gateway.limit(tokens_per_minute=1000)
        reply = await gateway.ask(max_tokens=900)
        assert_refused(reply, "overloaded")
        assert reply.headers["retry-after"] == "7"
        assert [hits(server) for server in servers] == [1, 1]
        await Booked("void", "gpu-b", 2, 503, "overloaded").check(gateway)
        again = await gateway.ask(max_tokens=900)
        assert_refused(again, "overloaded")
        assert 1 <= int(again.headers["retry-after"]) <= 4
        assert [hits(server) for server in servers] == [1, 1]
        assert states(gateway) == ["closed", "closed"]
        assert sum(learnt(gateway).values()) == 2
        assert int(again.headers["x-ratelimit-remaining-tokens"]) < 1000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_u32_refusal_of_the_caller_s_own_request_is_passed_on_byte_for_byte(status, stream):
    body = error_body(status, "BadRequestError", "context too long", "messages")
    async with fleet(refusing(status, body), refusing(status, body)) as (gateway, servers):
        for number in range(8):
            reply = await gateway.ask(stream=stream)
            assert (reply.status_code, reply.content) == (status, body)
            assert "x-should-retry" not in reply.headers
            assert sum(hits(server) for server in servers) == number + 1
        rows = await gateway.rows()
        assert {(row.state, row.status, row.attempts) for row in rows} == {("void", status, 1)}
        assert {outcome for _, outcome, _ in learnt(gateway)} == {"ignored"}
        assert states(gateway) == ["closed", "closed"]


@pytest.mark.parametrize("status", [401, 403])
async def test_u33_refusal_of_our_own_key_is_never_the_caller_s(status):
    async with fleet(refusing(status), healthy=1) as (gateway, (server,)):
        for _ in range(4):
            assert (await gateway.ask("short")).status_code == 200
        assert (hits(server), served(gateway)) == (1, 4)
        assert learnt(gateway)["gpu-a", "ignored", "refused"] == 1
        assert states(gateway) == ["closed", "closed"]
        assert [line for line in gateway.witness.lines if "gpu-a: refusing" in line]
    async with fleet(refusing(status), refusing(status)) as (gateway, servers):
        for _ in range(3):
            assert_refused(await gateway.ask(), "bad_upstream")
        assert [hits(server) for server in servers] == [1, 1]
        rows = await gateway.rows()
        assert {(row.state, row.status, row.error_code) for row in rows} == {("void", 502, "bad_upstream")}


async def test_u34_model_missing_at_one_endpoint_is_asked_of_the_other_and_missing_only_if_at_both():
    async with fleet(refusing(404, MISSING), healthy=1) as (gateway, (server,)):
        for _ in range(4):
            assert (await gateway.ask("short")).status_code == 200
        assert (hits(server), served(gateway)) == (1, 4)
        assert learnt(gateway)["gpu-a", "ignored", "model_missing"] == 1
        assert states(gateway) == ["closed", "closed"]
    async with fleet(refusing(404, MISSING), refusing(404, MISSING)) as (gateway, servers):
        for _ in range(3):
            assert_refused(await gateway.ask(), "model_not_found")
        assert [hits(server) for server in servers] == [1, 1]


async def test_u36_answers_without_usage_are_booked_and_say_by_what():
    bare = {key: value for key, value in json.loads(answer()).items() if key != "usage"}
    async with fleet(saying(whole(json.dumps(bare).encode()))) as (gateway, _):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["choices"]) == (200, bare["choices"])
        row = await Booked("settled", "gpu-a", 1, source="estimated", finish="stop").check(gateway)
        assert row.prompt_tokens > 0
        assert row.completion_tokens > 0
    events = (event({"content": "a"}), event({"content": "b"}), event({}, finish="stop"), DONE)
    async with fleet(saying(SSE, *map(chunk, events), END)) as (gateway, _):
        assert (await gateway.ask(stream=True)).text.endswith("data: [DONE]\n\n")
        row = await Booked("settled", "gpu-a", 1, source="counted", finish="stop").check(gateway)
        assert row.completion_tokens == 2


async def test_u45_endpoint_whose_list_lies_is_found_out_by_its_answers():
    """It lists the model at every question and answers 404 to every chat."""
    liar, honest = Simulator(ttft=0.001, itl=0.001), Simulator(ttft=0.001, itl=0.001)
    rarely = {"interval": 60, "interval_down": 60}
    async with running([liar, honest], routing={"strategy": "round_robin"}, health=rarely) as gateway:
        liar.faults.add("model_unloaded", count=None, match={"path": "/v1/chat/completions"})
        for _ in range(10):
            assert (await gateway.ask("short")).status_code == 200
        assert (len(calls(liar)), len(calls(honest))) == (1, 10)
        assert gateway.house.fleet.endpoints["gpu-a"].catalogue.marked("tiny") is not None
        assert (await gateway.client.get("/v1/models")).json()["data"][0]["id"] == "tiny"


@pytest.mark.long
async def test_u49_restarted_endpoint_is_tried_by_few_calls_until_it_has_proven_itself():
    """It is two hundred times as slow at first: no herd runs into it."""
    fleet_ = [Simulator(ttft=0.005, itl=0.001) for _ in range(2)]
    breaker = {"half_open_calls": 5, "wait_in_open": 600, "max_wait_in_open": 600}
    async with running(fleet_, resilience={"breaker": breaker}) as gateway:
        slow = fleet_[0]
        await slow.stop()
        await until(lambda: not gateway.house.fleet.endpoints["gpu-a"].available)
        while gateway.house.fleet.endpoints["gpu-a"].breaker.state != "open":
            gateway.house.fleet.endpoints["gpu-a"].probed("up")
            assert (await gateway.ask("short")).status_code == 200
        statuses, most = [], 0

        async def work():
            while not done.is_set():
                statuses.append((await gateway.ask("short")).status_code)

        done = asyncio.Event()
        asking = [asyncio.create_task(work()) for _ in range(32)]
        await slow.restart()
        slow.adjust(ttft=1.0)
        gate = gateway.house.fleet.endpoints["gpu-a"].breaker
        await until(lambda: gate.state == "half_open")
        while gate.state == "half_open":
            most = max(most, len(slow.truth.active))
            await asyncio.sleep(0.002)
        assert gate.state == "closed"
        assert 1 <= most <= 5
        done.set()
        await asyncio.gather(*asking)
        assert set(statuses) == {200}


async def test_u59_every_fault_in_any_order_leaves_every_place_free():
    """All misbehave in turn, and callers of both kinds come eight at a time."""
    acts = [
        refusing(503, wait=0),
        refusing(500),
        saying(whole(answer())),
        refusing(400, error_body(400, "BadRequestError", "no", "messages")),
        saying(whole(b"<html>")),
        saying(SSE, chunk(event({"content": "a"}, tokens=1)), END),
        saying(SSE, *map(chunk, (event({"content": "a"}, tokens=1), event({}, "stop", 1), DONE)), END),
    ]
    deaf = {"consecutive_failures": 10_000, "minimum_calls": 10_000, "sliding_window_size": 10_000}
    few = {"bulkhead": {"max_concurrent_calls": 3}, "queue": {"max_wait": 5}, "breaker": deaf}
    async with fleet(in_turn(*acts * 40), healthy=1, resilience=few) as (gateway, (server,)):

        async def work(stream):
            for _ in range(40):
                reply = await gateway.client.post("/v1/chat/completions", json=chat("short", stream=stream))
                assert reply.status_code in (200, 400, 502)

        await asyncio.gather(*(work(number % 2 == 0) for number in range(8)))
        assert hits(server) > 100
        assert [e.bulkhead.inflight for e in gateway.house.fleet.endpoints.values()] == [0, 0]
        assert [e.has_room for e in gateway.house.fleet.endpoints.values()] == [True, True]
