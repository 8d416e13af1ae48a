"""What the openai SDK makes of our errors: it never doubles the work of an engine."""

from __future__ import annotations

import time

import openai
import pytest

from app.simulator import Simulator
from tests.house import PATIENT, calls, chat, running, until

LIMITS = PATIENT | {
    "timeouts": {"connect": 1, "first_byte": 0.5, "idle": 0.5, "total": 0.5, "stream_total": 20}
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c25_sdk_does_not_repeat_a_call_that_took_too_long(stream):
    async with running([Simulator(ttft=30), Simulator(ttft=30)], resilience=LIMITS) as gateway:
        with pytest.raises(openai.InternalServerError) as raised:
            await gateway.sdk.with_options(max_retries=2).chat.completions.create(**chat(), stream=stream)
        assert raised.value.status_code == 504
        assert raised.value.response.headers["x-should-retry"] == "false"
        await until(lambda: not any(simulator.truth.active for simulator in gateway.simulators))
        assert len(calls(*gateway.simulators)) == 1
        row = await gateway.row()
        assert (row.status, row.finish, row.state) == (504, "timeout", "settled")


async def test_c25_sdk_does_not_repeat_a_call_that_no_engine_could_do():
    """Each endpoint may be asked once; a second round of the SDK would double that."""
    async with running([Simulator(), Simulator()], resilience=PATIENT) as gateway:
        for simulator in gateway.simulators:
            simulator.faults.add("plain_500", count=None, match={"path": "/v1/chat/completions"})
        with pytest.raises(openai.InternalServerError) as raised:
            await gateway.sdk.with_options(max_retries=2).chat.completions.create(**chat())
        assert raised.value.status_code == 502
        assert len(calls(*gateway.simulators)) == 2
        assert len(await gateway.rows()) == 1


async def test_c25_sdk_comes_again_when_it_is_told_to_and_when():
    limits = {"bulkhead": {"max_concurrent_calls": 1}, "queue": {"max_length": 1, "max_wait": 0.1}}
    async with running([Simulator(ttft=30)], resilience=PATIENT | limits) as gateway:
        (simulator,) = gateway.simulators
        first = await gateway.caller()
        first.say(gateway.request())
        await until(lambda: simulator.truth.active)
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError) as raised:
            await gateway.sdk.with_options(max_retries=1).chat.completions.create(**chat())
        told = float(raised.value.response.headers["retry-after"])
        assert raised.value.status_code == 503
        assert raised.value.response.headers["x-should-retry"] == "true"
        assert 0 < told <= 60
        assert time.monotonic() - began >= 1
        assert len(calls(simulator)) == 1
        first.hang_up()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c26_sdk_that_waits_less_than_we_do_stops_the_engine_each_time(stream):
    async with running([Simulator(ttft=30)], resilience=PATIENT) as gateway:
        (simulator,) = gateway.simulators
        with pytest.raises(openai.APITimeoutError):
            await gateway.sdk.with_options(max_retries=1, timeout=0.5).chat.completions.create(
                **chat(), stream=stream
            )
        await until(lambda: len(calls(simulator)) == 2 and all(record.aborted for record in calls(simulator)))
        rows = await gateway.rows()
        assert [(row.state, row.status, row.finish) for row in rows] == [("settled", 499, "hang_up")] * 2
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
