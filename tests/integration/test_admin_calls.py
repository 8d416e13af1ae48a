"""Operators and running calls, over real sockets: what is stopped ends at once, at the engine too."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from app.simulator import Simulator
from app.store.usage import UsageRows
from tests.house import DEFAULTS, SOON, running, until
from tests.stores import usage_row


@asynccontextmanager
async def operated(*simulators):
    async with running(simulators or [Simulator(ttft=0.001, itl=0.005)], ops=True) as gateway:
        headers = {"authorization": f"Bearer {DEFAULTS['admin_token']}"}
        base = f"{gateway.ops_url}/admin/v1"
        async with httpx.AsyncClient(
            base_url=base, headers=headers, trust_env=False, timeout=SOON
        ) as operator:
            yield gateway, operator


async def begun(gateway):
    """A caller whose stream runs."""
    caller = await gateway.caller()
    caller.say(gateway.request("forever", stream=True))
    await caller.reader.readuntil(b'"content":"')
    return caller


async def rest(caller) -> bytes:
    async with asyncio.timeout(SOON):
        return await caller.reader.read()


def last_error(rest: bytes) -> dict:
    events = [line for line in rest.splitlines() if line.startswith(b"data: ")]
    assert b"[DONE]" not in rest
    return json.loads(events[-1].removeprefix(b"data: "))["error"]


async def test_an_operator_stops_one_call():
    async with operated() as (gateway, operator):
        caller = await begun(gateway)
        (shown,) = (await operator.get("/inflight")).json()["data"]
        assert (shown["tenant"], shown["endpoint"], shown["streams"]) == ("demo", "gpu-a", True)
        assert (await operator.delete(f"/inflight/{shown['call_id']}")).status_code == 204
        assert last_error(await rest(caller))["code"] == "stopped"
        (simulator,) = gateway.simulators
        await until(lambda: simulator.truth.records[0].aborted is not None)
        row = await gateway.row()
        assert (row.state, row.finish, row.error_code) == ("settled", "stopped", "stopped")
        assert row.completion_tokens > 0
        told = (await operator.get(f"/requests/{shown['call_id']}")).json()
        assert (told["finish"], told["attempts"][0]["endpoint"]) == ("stopped", "gpu-a")


@pytest.mark.parametrize("whose", ["key", "tenant"])
async def test_revoking_with_abort_cuts_what_runs(whose):
    async with operated() as (gateway, operator):
        caller = await begun(gateway)
        (shown,) = (await operator.get("/inflight")).json()["data"]
        path = f"/keys/{shown['key_id']}" if whose == "key" else f"/tenants/{shown['tenant_id']}"
        assert (await operator.delete(f"{path}?abort=true")).status_code == 204
        assert last_error(await rest(caller))["code"] == "invalid_api_key"
        assert (await gateway.ask()).status_code == 401


async def test_revoking_lets_what_runs_finish():
    async with operated(Simulator(ttft=0.001, itl=0.02)) as (gateway, operator):
        caller = await gateway.caller()
        caller.say(gateway.request("hello", stream=True, max_tokens=20))
        await caller.reader.readuntil(b'"content":"')
        (shown,) = (await operator.get("/inflight")).json()["data"]
        await operator.delete(f"/keys/{shown['key_id']}")
        await caller.reader.readuntil(b"[DONE]")
        assert (await gateway.ask()).status_code == 401
        assert (await gateway.row()).state == "settled"


async def test_a_drained_fleet_takes_nothing_and_says_so():
    async with operated() as (gateway, operator):
        await operator.post("/fleet/gpu-a/drain")
        refused = await gateway.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_healthy_endpoint")
        await operator.post("/fleet/gpu-a/resume")
        assert (await gateway.ask()).status_code == 200


async def test_a_large_export_arrives_whole_and_is_given_up_when_nobody_reads():
    async with operated() as (gateway, operator):
        rows = UsageRows(gateway.house.storage.database)
        await rows.write([usage_row(f"c{n:05}") for n in range(5000)])
        await rows.aclose()
        whole = (await operator.get("/usage/export?format=csv")).text
        assert len(whole.splitlines()) == 5001
        async with operator.stream("GET", "/usage/export") as answer:
            async for _ in answer.aiter_bytes():
                break
        await until(lambda: not gateway.ops.tasks)
