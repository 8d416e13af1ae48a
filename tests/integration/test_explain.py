"""Operators ask why: of calls that were, and of calls that are not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx

from app.simulator import Simulator
from tests.house import DEFAULTS, SOON, Refusing, at, running, until

pytest_plugins = ("tests.redis_server",)


@asynccontextmanager
async def asked(endpoints, **settings):
    async with running(endpoints, ops=True, **settings) as gateway:
        async with httpx.AsyncClient(
            base_url=f"{gateway.ops_url}/admin/v1",
            headers={"authorization": f"Bearer {DEFAULTS['admin_token']}"},
            trust_env=False,
            timeout=SOON,
        ) as operator:
            yield gateway, operator


async def explained(gateway, operator) -> dict:
    """The latest call."""
    row = (await gateway.rows())[-1]
    return (await operator.get(f"/requests/{row.call_id}")).json()


async def rehearsed(operator, **question) -> dict:
    answer = await operator.post("/explain", json={"model": "tiny", **question})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_call_that_went_elsewhere_tells_the_whole_way():
    refusing = Refusing()
    try:
        rows = [at(refusing, models=["tiny"]), at(Simulator(), models=["tiny"])]
        async with asked(rows, routing={"strategy": "round_robin"}) as (gateway, operator):
            await gateway.limit(requests_per_minute=100)
            for _ in range(2):
                assert (await gateway.ask(stream=True)).status_code == 200
                told = await explained(gateway, operator)
                if len(told["attempts"]) == 2:
                    break
            assert [(each["endpoint"], each["reason"]) for each in told["attempts"]][-1] == ("gpu-b", None)
            assert told["attempts"][-1]["ended_s"] >= told["attempts"][-1]["started_s"]
            assert told["candidates_at"] == "dispatch"
            assert told["limits"][0]["rule"] == "requests_per_minute"
            assert {row["endpoint"] for row in told["candidates"]} == {"gpu-a", "gpu-b"}
            then = {row["endpoint"]: row["excluded"] for row in told["candidates"]}
            assert (then["gpu-a"] is not None, then["gpu-b"]) == (True, None)
    finally:
        refusing.close()


async def test_a_call_that_waited_says_for_what():
    async with asked(
        [Simulator(ttft=0.001, itl=0.01)], resilience={"bulkhead": {"max_concurrent_calls": 1}}
    ) as (gateway, operator):
        first = asyncio.ensure_future(gateway.ask("forever", stream=True, max_tokens=30))
        await until(lambda: gateway.house.fleet.inflight == 1)
        second = asyncio.ensure_future(gateway.ask(stream=True))
        await until(lambda: gateway.house.fleet.queued == 1)
        would = await rehearsed(operator)
        assert (would["would"], would["endpoint"]) == ("wait", None)
        assert would["routes"][0]["queue"]["waiting"] == 1
        assert would["routes"][0]["queue"]["refuses"] is None
        assert [reply.status_code for reply in await asyncio.gather(first, second)] == [200, 200]
        told = await explained(gateway, operator)
        assert [(event["what"], event["detail"]) for event in told["events"]] == [
            ("excluded", {"gpu-a": "full"}),
            ("waits", "room"),
        ]
        assert told["queue_wait_s"] > 0
        assert told["candidates"][0]["excluded"] == "full"
        assert told["candidates_now"][0]["excluded"] is None


async def test_the_rehearsal_foretells_the_call():
    """What it says of a call is what becomes of that call, one after the other."""
    routing = {"strategy": "round_robin"}
    async with asked([Simulator(), Simulator()], routing=routing) as (gateway, operator):
        await gateway.limit(requests_per_minute=4, tokens_per_minute=100_000)
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
        for number in range(6):
            would = await rehearsed(operator, body=body, tenant_id=gateway.tenant_id)
            reply = await gateway.post("/v1/chat/completions", body)
            if number < 4:
                assert (would["would"], reply.status_code) == ("dispatch", 200)
                assert would["endpoint"] == (await gateway.rows())[-1].endpoint
                assert would["limits"][0]["remaining"] == 4 - number
            else:
                error = would["error"]
                assert (error["status"], error["code"]) == (429, "rate_limit_exceeded")
                assert reply.json()["error"]["code"] == error["code"]
                assert reply.json()["error"]["message"] == error["message"]


async def test_the_rehearsal_asks_nobody():
    async with asked([Simulator()]) as (gateway, operator):
        await rehearsed(operator, stream=True)
        (simulator,) = gateway.simulators
        assert not [record for record in simulator.truth.records if record.request_id]
        assert await gateway.rows() == []
        assert gateway.house.storage.limiter._counters.reserved == 0


async def test_a_hedged_call_is_told_as_two_attempts_at_once():
    async with asked(
        [Simulator(ttft=0.002), Simulator(ttft=0.002)],
        routing={"strategy": "round_robin"},
        resilience={"hedge": {"enabled": True, "minimum_calls": 4, "minimum_delay": 0.1, "budget_ratio": 1}},
    ) as (gateway, operator):
        for _ in range(4):
            await gateway.ask("short", stream=True)
        hedge = (await rehearsed(operator, stream=True))["routes"][0]["hedge"]
        assert (hedge["covered"], hedge["after_s"] >= 0.1, hedge["affordable"]) == (True, True, True)
        gateway.simulators[0].faults.add("silent")
        for _ in range(2):
            await gateway.ask("short", stream=True)
            told = await explained(gateway, operator)
            if told["hedged"]:
                break
        lost, won = told["attempts"]
        assert (lost["endpoint"], lost["reason"], lost["hedge"]) == ("gpu-a", "hedge_lost", False)
        assert (won["endpoint"], won["outcome"], won["hedge"]) == ("gpu-b", "success", True)
        assert lost["started_s"] < won["started_s"] <= lost["ended_s"] <= won["ended_s"]


async def test_shared_limits_are_rehearsed_where_they_are_counted(redis_server):
    async with asked([Simulator()], redis_url=redis_server.url) as (gateway, operator):
        await gateway.limit(tokens_per_day=1000)
        question = {"tenant_id": gateway.tenant_id, "prompt_tokens": 500, "max_tokens": 100}
        for _ in range(3):
            would = await rehearsed(operator, **question)
            assert (would["would"], would["limits_counted"]) == ("dispatch", "redis")
            assert [(row["cost"], row["remaining"]) for row in would["limits"]] == [(600, 1000)]
        would = await rehearsed(operator, **question | {"prompt_tokens": 901})
        assert would["error"]["code"] == "request_exceeds_limit"
        redis_server.kill()
        await until(lambda: not gateway.house.storage.shared.up)
        would = await rehearsed(operator, **question)
        assert (would["would"], would["limits_counted"]) == ("dispatch", "share")
