"""A call's time over real sockets: one budget for queue, attempts and stream, shortened by its caller alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.simulator import Simulator
from tests.faults.behaviours import never_answers, whole
from tests.house import at, running, until
from tests.line import error_body
from tests.scripted import misbehaving

LONG = {"timeouts": {"first_byte": 60, "idle": 60, "total": 60, "stream_total": 60}}
LIMIT = {"x-request-timeout-ms": "500"}


@pytest.mark.parametrize("stream", [True, False])
async def test_callers_limit_ends_its_wait_in_the_queue_at_no_cost(stream):
    resilience = LONG | {"bulkhead": {"max_concurrent_calls": 1}, "queue": {"max_wait": 60}}
    async with running([Simulator(ttft=60)], resilience=resilience) as gateway:
        first = asyncio.create_task(gateway.ask())
        await until(lambda: gateway.house.fleet.inflight == 1)
        answer = await gateway.ask(stream=stream, headers=LIMIT)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_total_timeout"
        assert gateway.house.fleet.queued == 0
        first.cancel()
        await asyncio.wait({first})
        await until(lambda: gateway.house.fleet.inflight == 0)
        assert sorted(row.state for row in await gateway.rows()) == ["settled", "void"]


@pytest.mark.parametrize("stream", [True, False])
async def test_callers_limit_is_not_renewed_by_a_second_attempt_and_blames_nobody(stream):
    async def fails_late(peer):
        await asyncio.sleep(0.2)
        await peer.send(whole(error_body(500), b"500 no"))

    health = {"interval": 60, "interval_down": 60}
    async with misbehaving(fails_late) as late, misbehaving(never_answers) as silent:
        rows = [at(late, models=["tiny"]), at(silent, models=["tiny"], tier=1)]
        async with running(rows, resilience=LONG, health=health) as gateway:
            answer = await gateway.ask(stream=stream, headers=LIMIT)
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "upstream_total_timeout"
            row = await gateway.row()
            assert (row.state, row.finish, row.endpoint) == ("settled", "timeout", "gpu-b")
            assert 0.5 <= row.elapsed_s < 20
            breaker = gateway.house.fleet.endpoints["gpu-b"].breaker
            assert "failures=0" in repr(breaker)


async def test_callers_limit_ends_a_running_stream_with_an_error_event():
    async with running([Simulator(ttft=0.005, itl=0.01)], resilience=LONG) as gateway:
        answer = await gateway.ask("forever", stream=True, headers=LIMIT)
        assert answer.status_code == 200
        last = json.loads(answer.text.rstrip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] == "upstream_total_timeout"
        assert "[DONE]" not in answer.text
        assert "failures=0" in repr(gateway.house.fleet.endpoints["gpu-a"].breaker)


@pytest.mark.parametrize("stream", [True, False])
async def test_callers_limit_never_lengthens_what_the_configuration_allows(stream):
    short = {"timeouts": {"first_byte": 60, "idle": 60, "total": 0.3, "stream_total": 0.3}}
    async with running([Simulator(ttft=60)], resilience=short) as gateway:
        answer = await gateway.ask(stream=stream, headers={"x-request-timeout-ms": "9" * 30})
        assert answer.status_code == 504
        assert (await gateway.row()).elapsed_s < 20
