from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from app.simulator import Simulator
from tests.house import at, calls, running, until

QUICK = {"ttft": 0.001, "itl": 0.0005}


def quick(**options):
    return Simulator(**(QUICK | options))


async def test_weights_share_the_calls_out():
    heavy, light = quick(), quick()
    async with running([at(heavy, weight=3), light], routing={"strategy": "round_robin"}) as gateway:
        for _ in range(80):
            await gateway.ask("short")
        assert (len(calls(heavy)), len(calls(light))) == (60, 20)


async def test_weight_of_nothing_takes_no_calls():
    drained, other = quick(), quick()
    async with running([at(drained, weight=0), other]) as gateway:
        for _ in range(10):
            assert (await gateway.ask("short")).status_code == 200
        assert calls(drained) == []


@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_load", "p2c", "peak_ewma", "session"])
async def test_every_strategy_uses_every_endpoint(strategy):
    fleet = [quick() for _ in range(3)]
    async with running(fleet, routing={"strategy": strategy}) as gateway:
        answers = await asyncio.gather(
            *(gateway.ask("short", headers={"x-user-id": f"user-{number}"}) for number in range(60))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert all(calls(simulator) for simulator in fleet)


async def test_session_stays_where_it_began():
    fleet = [quick() for _ in range(4)]
    async with running(fleet, routing={"strategy": "session"}) as gateway:
        for _ in range(12):
            await gateway.ask("short", headers={"x-user-id": "one and the same"})
        assert sorted(len(calls(simulator)) for simulator in fleet) == [0, 0, 0, 12]


async def test_preferred_endpoints_come_first_and_their_surplus_spills():
    preferred, other = quick(ttft=0.2), quick()
    models = {"tiny": {"preferred_endpoints": ["gpu-a"]}}
    places = {"bulkhead": {"max_concurrent_calls": 2}}
    async with running([preferred, other], model_config=models, resilience=places) as gateway:
        await gateway.ask("short")
        assert (len(calls(preferred)), len(calls(other))) == (1, 0)
        await asyncio.gather(*(gateway.ask("short") for _ in range(4)))
        assert (len(calls(preferred)), len(calls(other))) == (3, 2)


async def test_strictly_preferred_endpoints_are_never_left():
    preferred, other = quick(ttft=0.05), quick()
    models = {"tiny": {"preferred_endpoints": ["gpu-a"], "strict_preferred": True}}
    places = {"bulkhead": {"max_concurrent_calls": 1}}
    async with running([preferred, other], model_config=models, resilience=places) as gateway:
        await asyncio.gather(*(gateway.ask("short") for _ in range(4)))
        assert (len(calls(preferred)), len(calls(other))) == (4, 0)


@pytest.mark.parametrize("spill", ["full", "down"])
async def test_lower_tier_is_filled_first(spill):
    near, far = quick(ttft=0.1), quick()
    places = {"bulkhead": {"max_concurrent_calls": 1}}
    async with running([near, at(far, tier=1)], routing={"spill": spill}, resilience=places) as gateway:
        await asyncio.gather(*(gateway.ask("short") for _ in range(2)))
        assert (len(calls(near)), len(calls(far))) == ((1, 1) if spill == "full" else (2, 0))
        near.refuse()
        near.hang_up()
        await until(gateway.house.fleet.endpoints["gpu-a"].reason_unavailable)
        before = len(calls(far))
        assert (await gateway.ask("short")).status_code == 200
        assert len(calls(far)) == before + 1


async def test_alias_is_served_under_the_callers_name():
    models = {"tiny": {"aliases": ["gpt-4o"]}}
    async with running([quick()], model_config=models) as gateway:
        whole = await gateway.ask("short", model="gpt-4o")
        assert whole.json()["model"] == "gpt-4o"
        streamed = await gateway.ask("short", model="gpt-4o", stream=True)
        events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
        assert {event["model"] for event in events} == {"gpt-4o"}
        assert [json.loads(record.body)["model"] for record in calls(*gateway.simulators)] == ["tiny"] * 2
        assert {(row.model, row.served_model) for row in await gateway.rows()} == {("tiny", "tiny")}
        listed = {row["id"]: row for row in (await gateway.client.get("/v1/models")).json()["data"]}
        assert list(listed) == ["gpt-4o", "tiny"]
        assert (listed["gpt-4o"]["root"], listed["gpt-4o"]["owned_by"]) == ("tiny", "sluice")


async def test_one_model_under_two_names_at_two_endpoints():
    first, second = quick(served_names=("Llama-8B",)), quick(served_names=("meta/llama-8b-instruct",))
    fleet = [
        at(first, models={"llama": "Llama-8B"}),
        at(second, models={"llama": "meta/llama-8b-instruct"}),
    ]
    async with running(fleet, routing={"strategy": "round_robin"}) as gateway:
        for stream in (False, False, True, True):
            answer = await gateway.ask("short", model="llama", stream=stream)
            assert answer.status_code == 200
            assert '"model":"llama"' in answer.text
            assert "Llama-8B" not in answer.text
            assert "meta/llama-8b-instruct" not in answer.text
        assert {json.loads(record.body)["model"] for record in calls(first)} == {"Llama-8B"}
        assert {json.loads(record.body)["model"] for record in calls(second)} == {"meta/llama-8b-instruct"}
        rows = await gateway.rows()
        assert Counter(row.served_model for row in rows) == {"Llama-8B": 2, "meta/llama-8b-instruct": 2}
        assert {row.model for row in rows} == {"llama"}
        (card,) = (await gateway.client.get("/v1/models")).json()["data"]
        assert card["id"] == "llama"


async def test_calls_go_only_where_their_model_is():
    small, large = quick(served_names=("small",)), quick(served_names=("large",))
    async with running([small, large]) as gateway:
        for name in ("small", "large", "small"):
            assert (await gateway.ask("short", model=name)).status_code == 200
        assert (len(calls(small)), len(calls(large))) == (2, 1)


async def test_fallback_model_answers_when_nobody_else_can():
    small, large = quick(served_names=("small",)), quick(served_names=("large",))
    models = {"large": {"fallbacks": ["small"]}, "small": {}}
    async with running([small, at(large, models=["large"])], model_config=models) as gateway:
        large.refuse()
        large.hang_up()
        for stream in (False, True):
            answer = await gateway.ask("short", model="large", stream=stream)
            assert answer.status_code == 200
            assert answer.headers["x-sluice-model"] == "small"
            assert '"model":"small"' in answer.text
        assert {row.model for row in await gateway.rows()} == {"small"}


async def test_fallback_model_answers_when_everybody_else_is_busy():
    small, large = quick(served_names=("small",)), quick(served_names=("large",))
    large.faults.add("queue_full", count=None, match={"path": "/v1/chat/completions"})
    models = {"large": {"fallbacks": ["small"]}, "small": {}}
    async with running([small, large], model_config=models) as gateway:
        for _ in range(3):
            assert (await gateway.ask("short", model="large")).headers["x-sluice-model"] == "small"


async def test_fallback_never_answers_a_bad_request():
    small, large = quick(served_names=("small",)), quick(served_names=("large",))
    models = {"large": {"fallbacks": ["small"]}, "small": {}}
    async with running([small, large], model_config=models) as gateway:
        assert (await gateway.ask("short", model="large", temperature=9)).status_code == 400
        assert calls(small) == []


async def test_defaults_of_a_model_fill_in_what_the_caller_left_out():
    models = {"tiny": {"defaults": {"max_tokens": 3, "temperature": 0.25}}}
    async with running([quick()], model_config=models) as gateway:
        answer = await gateway.ask("forever")
        assert answer.json()["usage"]["completion_tokens"] == 3
        answer = await gateway.ask("forever", max_tokens=5)
        assert answer.json()["usage"]["completion_tokens"] == 5
        assert {json.loads(record.body)["temperature"] for record in calls(*gateway.simulators)} == {0.25}


async def test_default_model_serves_requests_that_name_none():
    async with running([quick()], routing={"default_model": "tiny"}) as gateway:
        answer = await gateway.client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "short"}]}
        )
        assert answer.status_code == 200


async def test_endpoint_shown_only_where_that_is_wanted():
    async with running([quick()], server={"expose_endpoint": True}) as gateway:
        answer = await gateway.ask("short")
        assert (answer.headers["x-sluice-endpoint"], answer.headers["x-sluice-attempts"]) == ("gpu-a", "1")
    async with running([quick()]) as gateway:
        assert "x-sluice-endpoint" not in (await gateway.ask("short")).headers
