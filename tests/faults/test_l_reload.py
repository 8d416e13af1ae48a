"""The fleet and its tenants change under load: whoever is being served does not notice."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from itertools import cycle, islice

import httpx
import pytest

from app.simulator import Simulator
from tests.house import DEFAULTS, PATIENT, SOON, calls, chat, running, until

AT_ONCE = 1.0
EVERY = 0.1
"""Seconds between two reloads."""

SECONDS = float(os.environ.get("RELOAD_SECONDS", "60"))


@asynccontextmanager
async def load(gateway, callers=8):
    """Calls without a pause, every other one a stream; what came of them."""
    answers, enough = [], asyncio.Event()

    async def ask(number):
        while not enough.is_set():
            number += 1
            answer = await gateway.ask("10 tokens", stream=number % 2 == 0)
            whole = answer.text.endswith("data: [DONE]\n\n") if number % 2 == 0 else "usage" in answer.json()
            answers.append((answer.status_code, whole))

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(ask(number))
        yield answers
        enough.set()


@asynccontextmanager
async def operating(gateway):
    headers = {"authorization": f"Bearer {DEFAULTS['admin_token']}"}
    async with httpx.AsyncClient(
        base_url=gateway.ops_url, headers=headers, trust_env=False, timeout=SOON
    ) as client:
        yield client


def row(simulator, name, weight=1):
    return {"name": name, "url": simulator.url, "weight": weight}


async def stream(gateway, content="forever"):
    """One of which the caller has seen an event."""
    caller = await gateway.caller()
    caller.say(gateway.request(content, stream=True))
    async with asyncio.timeout(SOON):
        await caller.reader.readuntil(b'"content":"')
    return caller


async def reload_for(seconds):
    a, b, c, ill = (Simulator(ttft=0.002, itl=0.002, seed=seed) for seed in range(4))
    async with running([a, b, c, ill], resilience=PATIENT, routing={"strategy": "round_robin"}) as gateway:
        fleet = gateway.house.fleet
        for path in ("/v1/chat/completions", "/v1/completions"):
            ill.faults.add("plain_500", count=None, match={"path": path})
        while fleet.endpoints["gpu-d"].breaker.state == "closed":
            await gateway.ask("short")
        before = len(calls(ill))
        changes = [
            [row(a, "gpu-a"), row(b, "gpu-b"), row(ill, "gpu-d")],
            [row(a, "gpu-a"), row(b, "gpu-b"), row(c, "gpu-c"), row(ill, "gpu-d")],
            [row(a, "gpu-a", 5), row(b, "gpu-b", 0), row(c, "gpu-c"), row(ill, "gpu-d")],
            [row(a, "gpu-a"), row(c, "gpu-e"), row(ill, "gpu-d")],
        ]
        known = fleet.endpoints["gpu-a"]
        async with load(gateway) as answers:
            for change in islice(cycle(changes), int(seconds / EVERY)):
                gateway.rewrite(vllm_endpoints=change)
                assert gateway.house.reload() == sorted(one["name"] for one in change)
                assert fleet.endpoints["gpu-d"].breaker.state == "open"
                await asyncio.sleep(EVERY)
        assert fleet.endpoints["gpu-a"] is known
        assert len(calls(ill)) == before
        assert set(answers) == {(200, True)}
        print(f"{len(answers)} calls over {int(seconds / EVERY)} reloads")
        assert min(len(calls(simulator)) for simulator in (a, b, c)) > 0
        await until(lambda: not fleet.status()["leaving"])
        found = await gateway.rows()
        assert {one.state for one in found if one.status == 200} == {"settled"}
        assert len([one for one in found if one.status == 200]) >= len(answers)


async def test_l09_reloads_under_load_cost_no_call():
    await reload_for(4)


@pytest.mark.long
async def test_l09_reloads_under_load_cost_no_call_for_a_minute():
    await reload_for(SECONDS)


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("vllm_endpoints: [", None),
        ('{"vllm_endpoints": [{"name": "a", "url": "not a url"}]}', "vllm_endpoints[0].url"),
        (
            '{"vllm_endpoints": [{"name": "a", "address": "host.example", "port": 1}]}',
            "vllm_endpoints[0].address",
        ),
        ('{"rooting": {}}', "rooting"),
    ],
)
async def test_l10_bad_configuration_changes_nothing_and_is_told(text, param):
    async with running([Simulator()], ops=True) as gateway, operating(gateway) as ops:
        before = gateway.file.read_text()

        async def successful():
            return "sluice_config_last_reload_successful 1.0" in (await ops.get("/metrics")).text

        assert await successful()
        gateway.file.write_text(text)
        refused = await ops.post("/admin/v1/reload")
        error = refused.json()["error"]
        print(error)
        assert (refused.status_code, error["code"], error["type"]) == (
            400,
            "invalid_request",
            "invalid_request_error",
        )
        assert error["message"]
        assert param is None or error["param"] == param
        assert not await successful()
        assert list(gateway.house.fleet.endpoints) == ["gpu-a"]
        assert (await gateway.ask("short")).status_code == 200
        gateway.file.write_text(before)
        assert (await ops.post("/admin/v1/reload")).status_code == 200
        assert await successful()


@pytest.mark.parametrize("way", ["reload", "drain"])
async def test_l15_endpoint_that_is_taken_away_ends_its_streams_and_gets_no_more(way):
    async with (
        running([Simulator(itl=0.005), Simulator(itl=0.005)], ops=True, resilience=PATIENT) as gateway,
        operating(gateway) as ops,
    ):
        a, b = gateway.simulators
        callers = [await stream(gateway, "200 tokens") for _ in range(6)]
        assert a.truth.active
        before = len(calls(a))
        if way == "reload":
            gateway.rewrite(vllm_endpoints=[row(b, "gpu-b")])
            assert (await ops.post("/admin/v1/reload")).status_code == 200
        else:
            assert (await ops.post("/admin/v1/fleet/gpu-a/drain", json={})).status_code == 200
            await until(lambda: gateway.house.fleet.status()["endpoints"][0]["draining"], within=AT_ONCE)
        for _ in range(10):
            assert (await gateway.ask("short")).status_code == 200
        for caller in callers:
            assert b"data: [DONE]" in (await caller.answer_rest())
        assert len(calls(a)) == before
        assert {one.finish for one in await gateway.rows()} <= {"length", "stop"}


async def test_l11_l12_l13_changes_hold_at_once():
    async with running([Simulator(ttft=0.001, itl=0.005)], ops=True) as gateway, operating(gateway) as ops:
        tenant = f"/admin/v1/tenants/{gateway.tenant_id}"

        async def within_a_second(wanted, secret):
            """Until the answer is that; in how many seconds."""
            began = time.monotonic()
            headers = {"authorization": f"Bearer {secret}"}
            while (await gateway.ask("short", headers=headers)).status_code != wanted:
                assert time.monotonic() - began < AT_ONCE
            return time.monotonic() - began

        key = (await ops.post(f"{tenant}/keys", json={})).json()
        worst = [await within_a_second(200, key["secret"])]
        await ops.patch(tenant, json={"limits": {"tokens_per_day": 1}})
        worst.append(await within_a_second(400, key["secret"]))
        await ops.patch(tenant, json={"limits": {"tokens_per_day": None}})
        worst.append(await within_a_second(200, key["secret"]))
        running_stream = await gateway.caller()
        running_stream.say(
            gateway.request("100 tokens", stream=True).replace(gateway.key.encode(), key["secret"].encode())
        )
        await running_stream.reader.readuntil(b'"content":"')
        await ops.delete(f"/admin/v1/keys/{key['id']}")
        worst.append(await within_a_second(401, key["secret"]))
        assert b"data: [DONE]" in await running_stream.answer_rest()
        print(f"created, lowered, lifted, revoked after {[f'{seconds * 1000:.0f} ms' for seconds in worst]}")


async def test_l12_revoking_with_abort_cuts_the_streams_of_the_key():
    async with running([Simulator(ttft=0.001, itl=0.005)], ops=True) as gateway, operating(gateway) as ops:
        caller = await stream(gateway)
        (key,) = (await ops.get(f"/admin/v1/tenants/{gateway.tenant_id}/keys")).json()["data"]
        began = time.monotonic()
        await ops.delete(f"/admin/v1/keys/{key['id']}?abort=true")
        rest = await caller.answer_rest()
        assert time.monotonic() - began < AT_ONCE
        assert b"invalid_api_key" in rest
        assert b"[DONE]" not in rest
        assert (await gateway.row()).state == "settled"


async def test_l14_tenant_deleted_with_streams_in_flight_is_billed_for_them():
    async with running([Simulator(ttft=0.001, itl=0.005)], ops=True) as gateway, operating(gateway) as ops:
        callers = [await stream(gateway, "200 tokens") for _ in range(5)]
        assert (await ops.delete(f"/admin/v1/tenants/{gateway.tenant_id}")).status_code == 204
        began = time.monotonic()
        while (await gateway.client.post("/v1/chat/completions", json=chat("short"))).status_code != 401:
            assert time.monotonic() - began < AT_ONCE
        for caller in callers:
            assert b"data: [DONE]" in await caller.answer_rest()
        rows = [one for one in await gateway.rows() if one.finish == "length" or one.completion_tokens == 200]
        assert [(one.state, one.completion_tokens, one.tenant_id) for one in rows] == [
            ("settled", 200, gateway.tenant_id)
        ] * 5
        used = (await ops.get(f"/admin/v1/usage?tenant_id={gateway.tenant_id}")).json()
        assert json.dumps(used).count("1000")
