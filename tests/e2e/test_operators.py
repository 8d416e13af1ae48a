from __future__ import annotations

import asyncio

import httpx
import pytest

from app.simulator import Simulator
from tests.house import DEFAULTS, calls, running, until

QUICK = {"ttft": 0.005, "itl": 0.002}


@pytest.fixture
async def gateway():
    async with running([Simulator(**QUICK), Simulator(**QUICK)], ops=True) as gateway:
        yield gateway


@pytest.fixture
async def ops(gateway):
    headers = {"authorization": f"Bearer {DEFAULTS['admin_token']}"}
    async with httpx.AsyncClient(
        base_url=gateway.ops_url, headers=headers, trust_env=False, verify=False
    ) as client:
        yield client


async def test_calls_show_in_status_and_metrics(gateway, ops):
    await gateway.ask("short")
    status = (await ops.get("/status")).json()
    assert [endpoint["name"] for endpoint in status["endpoints"]] == ["gpu-a", "gpu-b"]
    assert {endpoint["state"] for endpoint in status["endpoints"]} == {"up"}
    metrics = (await ops.get("/metrics")).text
    assert (
        'sluice_requests_total{model="tiny",outcome="success",status_code="200",surface="chat"} 1.0'
        in metrics
    )


async def test_call_that_an_operator_kills_ends_for_caller_and_engine(gateway, ops):
    asking = asyncio.create_task(gateway.ask("forever", stream=True))
    await until(lambda: any(record.sent > 3 for record in calls(*gateway.simulators)))
    (row,) = (await ops.get("/admin/v1/inflight")).json()["data"]
    answer = await ops.delete(f"/admin/v1/inflight/{row['call_id']}")
    assert answer.is_success
    text = (await asking).text
    assert '"error"' in text
    assert "[DONE]" not in text
    await until(lambda: calls(*gateway.simulators)[0].aborted is not None)
    assert (await gateway.row()).completion_tokens > 0


async def test_drained_endpoint_gets_no_new_calls_until_it_is_resumed(gateway, ops):
    drained = gateway.simulators[0]
    assert (await ops.post("/admin/v1/fleet/gpu-a/drain", json={"reason": "new driver"})).is_success
    await until(lambda: not gateway.house.fleet.endpoints["gpu-a"].available)
    for _ in range(4):
        assert (await gateway.ask("short")).status_code == 200
    assert calls(drained) == []
    assert (await ops.post("/admin/v1/fleet/gpu-a/resume", json={})).is_success
    await until(lambda: gateway.house.fleet.endpoints["gpu-a"].available)
    for _ in range(4):
        await gateway.ask("short")
    assert calls(drained)


async def test_key_made_by_an_operator_works_at_once_and_ends_at_once(gateway, ops):
    tenant = (await ops.post("/admin/v1/tenants", json={"name": "new"})).json()
    key = (await ops.post(f"/admin/v1/tenants/{tenant['id']}/keys", json={})).json()
    sdk = gateway.sdk.with_options(api_key=key["secret"])
    assert (await sdk.models.list()).data
    assert (await ops.delete(f"/admin/v1/keys/{key['id']}")).status_code == 204
    reply = await gateway.ask(headers={"authorization": f"Bearer {key['secret']}"})
    assert reply.status_code == 401


async def test_usage_sums_up_what_callers_were_told(gateway, ops):
    told = 0
    for number in (10, 20, 30):
        told += (await gateway.ask(f"{number} tokens")).json()["usage"]["total_tokens"]
    answer = (await ops.get("/admin/v1/usage", params={"group_by": "tenant,model"})).json()
    (row,) = answer["data"]
    assert (row["requests"], row["errors"], row["total_tokens"], row["model"]) == (3, 0, told, "tiny")


async def test_two_ports_keep_to_themselves(gateway, ops):
    assert (await gateway.client.get("/status")).status_code == 404
    assert (await ops.post("/v1/chat/completions", json={})).status_code == 404
    assert (
        await ops.get("/admin/v1/tenants", headers={"authorization": f"Bearer {gateway.key}"})
    ).status_code == 401
