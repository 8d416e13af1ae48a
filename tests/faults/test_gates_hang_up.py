from __future__ import annotations

import asyncio
import functools
import time

import pytest

from app.gateway import dispatch
from app.simulator import Simulator
from tests.house import PATIENT, SOON, Refusing, calls, running, until

AT_ONCE = 1.0
"""Seconds; what is wanted is 0.05, which a busy machine may miss now and then. The figure is printed."""


def only(simulator):
    (record,) = calls(simulator)
    return record


async def leave(gateway, caller, simulator):
    """Hang up and wait until the engine has heard of it; the row of the call."""
    left = time.time()
    caller.hang_up()
    await until(lambda: only(simulator).aborted is not None)
    delay = only(simulator).aborted - left
    print(f"the engine heard of the hang-up after {delay * 1000:.1f} ms")
    assert delay < AT_ONCE
    row = await gateway.row()
    assert (row.status, row.finish, row.state, row.error_code) == (499, "hang_up", "settled", "caller_gone")
    assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
    return row


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c01_c03_hang_up_before_the_first_byte_stops_the_engine(stream):
    async with running([Simulator(ttft=30)]) as gateway:
        (simulator,) = gateway.simulators
        caller = await gateway.caller()
        caller.say(gateway.request(stream=stream))
        await until(lambda: simulator.truth.active)
        row = await leave(gateway, caller, simulator)
        assert row.completion_tokens == 0
        assert row.usage_source == "estimated"
        assert row.prompt_tokens > 0


async def test_c02_hang_up_in_a_stream_stops_the_engine_and_bills_what_was_read():
    async with running([Simulator(ttft=0.001, itl=0.005)]) as gateway:
        (simulator,) = gateway.simulators
        caller = await gateway.caller()
        caller.say(gateway.request("forever", stream=True))
        await until(lambda: calls(simulator) and only(simulator).sent >= 5)
        await caller.reader.readuntil(b'"content":"')
        row = await leave(gateway, caller, simulator)
        assert row.usage_source == "upstream"
        assert row.prompt_tokens == only(simulator).prompt_tokens
        assert 5 <= row.completion_tokens <= only(simulator).generated
        assert row.wasted_tokens == row.completion_tokens


async def test_hang_up_in_a_whole_answer_half_generated_stops_the_engine():
    async with running([Simulator(ttft=0.001, itl=0.005)]) as gateway:
        (simulator,) = gateway.simulators
        caller = await gateway.caller()
        caller.say(gateway.request("forever"))
        await until(lambda: calls(simulator) and only(simulator).generated >= 5)
        row = await leave(gateway, caller, simulator)
        assert row.usage_source == "estimated"


async def test_c06_half_close_counts_as_a_hang_up():
    async with running([Simulator(ttft=0.001, itl=0.005)]) as gateway:
        (simulator,) = gateway.simulators
        caller = await gateway.caller()
        caller.say(gateway.request("forever", stream=True))
        await caller.reader.readuntil(b'"content":"')
        caller.writer.write_eof()
        await until(lambda: only(simulator).aborted is not None)
        assert (await gateway.row()).finish == "hang_up"


async def test_c04_hang_up_in_the_upload_reaches_no_engine_and_no_ledger():
    async with running([Simulator()]) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request()[:-5])
        await until(lambda: gateway.data.tasks)
        caller.hang_up()
        await until(lambda: not gateway.data.tasks)
        assert not calls(*gateway.simulators)
        assert await gateway.rows() == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c05_hang_up_while_queued_leaves_the_queue(stream):
    async with running([Simulator(ttft=30)], resilience={"bulkhead": {"max_concurrent_calls": 1}}) as gateway:
        (simulator,) = gateway.simulators
        first, second = await gateway.caller(), await gateway.caller()
        first.say(gateway.request())
        await until(lambda: simulator.truth.active)
        second.say(gateway.request(stream=stream))
        await until(lambda: gateway.house.fleet.queued == 1)
        left = time.monotonic()
        second.hang_up()
        await until(lambda: gateway.house.fleet.queued == 0)
        assert time.monotonic() - left < AT_ONCE
        (_, row) = await gateway.rows()
        assert (row.state, row.status, row.endpoint) == ("void", 499, None)
        assert len(calls(simulator)) == 1
        first.hang_up()


async def test_place_of_a_queued_caller_who_left_goes_to_the_next():
    async with running([Simulator(ttft=30)], resilience={"bulkhead": {"max_concurrent_calls": 1}}) as gateway:
        (simulator,) = gateway.simulators
        callers = [await gateway.caller() for _ in range(3)]
        callers[0].say(gateway.request())
        await until(lambda: simulator.truth.active)
        for queued, caller in enumerate(callers[1:], start=1):
            caller.say(gateway.request("short"))
            await until(lambda queued=queued: gateway.house.fleet.queued == queued)
        callers[1].hang_up()
        await until(lambda: gateway.house.fleet.queued == 1)
        simulator.adjust(ttft=0.001)
        callers[0].hang_up()
        assert (await callers[2].answer()).status == 200


async def test_u57_hang_up_between_two_attempts_makes_the_second_one_unmade(monkeypatch):
    resting = asyncio.Event()

    async def rest(seconds):
        resting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(dispatch, "retrying", functools.partial(dispatch.retrying, sleep=rest))
    async with running([Simulator(), Simulator()], resilience=PATIENT) as gateway:
        for simulator in gateway.simulators:
            simulator.faults.add("plain_500", match={"path": "/v1/chat/completions"})
        caller = await gateway.caller()
        caller.say(gateway.request())
        async with asyncio.timeout(SOON):
            await resting.wait()
        caller.hang_up()
        await until(lambda: not gateway.data.tasks)
        row = await gateway.row()
        assert (row.status, row.finish, row.attempts) == (499, "hang_up", 1)
        assert len(calls(*gateway.simulators)) == 1


async def test_u57_hang_up_in_the_second_attempt_stops_that_one_and_makes_no_third():
    refusing = Refusing()
    async with running(
        [refusing, Simulator(ttft=30), Simulator(ttft=30)],
        routing={"strategy": "round_robin"},
        health={"interval": 60, "interval_down": 60},
        resilience=PATIENT,
    ) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request())
        await until(lambda: any(simulator.truth.active for simulator in gateway.simulators))
        caller.hang_up()
        await until(lambda: not any(simulator.truth.active for simulator in gateway.simulators))
        assert len(calls(*gateway.simulators)) == 1
        assert (await gateway.row()).finish == "hang_up"
    refusing.close()


async def test_c26_callers_own_deadline_is_a_hang_up_like_any_other():
    async with running([Simulator(ttft=30)]) as gateway:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gateway.ask()
        await until(lambda: only(gateway.simulators[0]).aborted is not None)
        assert (await gateway.row()).finish == "hang_up"


async def test_callers_stated_limit_ends_the_call_and_blames_nobody():
    async with running([Simulator(ttft=30)]) as gateway:
        answer = await gateway.ask(headers={"x-request-timeout-ms": "200"})
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_total_timeout"
        assert answer.headers["x-should-retry"] == "false"
        await until(lambda: only(gateway.simulators[0]).aborted is not None)
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
        assert (await gateway.row()).finish == "timeout"
