from __future__ import annotations

import asyncio
import json
import socket
import time

import openai
import pytest

from app.simulator import Simulator
from tests.faults.contract import assert_broken_off
from tests.faults.fleets import Booked, learnt, states
from tests.house import calls, chat, running, until

QUICK = {"ttft": 0.005, "itl": 0.002}
CHAT = "/v1/chat/completions"


def truth(gateway):
    return calls(*gateway.simulators)[0]


async def stream(gateway, content="20 tokens", **fields):
    """A stream as it came: status, events and the raw bytes, and whether the connection ended there."""
    caller = await gateway.caller()
    caller.say(gateway.request(content, stream=True, **fields))
    answer = await caller.answer()
    assert await caller.closed() == b""
    return answer


def last_event(answer):
    return json.loads(answer.body.rstrip().split(b"\n\n")[-1].removeprefix(b"data: "))


def contents(answer):
    events = [part.removeprefix(b"data: ") for part in answer.body.rstrip().split(b"\n\n")]
    chunks = [json.loads(event) for event in events if event.startswith(b'{"id"')]
    return sum(bool(choice["delta"].get("content")) for chunk in chunks for choice in chunk["choices"])


BREAKS = {
    "u09 rst": {"after_tokens": 6},
    "u10 close": {"after_tokens": 6},
    "u10 cut": {"after_tokens": 6},
    "u11 cut_in_chunk": {"after_tokens": 6},
    "u13 bad_chunk": {"after_tokens": 6},
    "u12 abort": {"after_tokens": 6},
    "u12 error": {"after_tokens": 6},
    "u12 no_finish": {},
}


@pytest.mark.parametrize("case", BREAKS)
async def test_stream_that_breaks_off_ends_in_an_error_and_never_in_done(case):
    """Nobody else is asked to go on with it, though another endpoint is well."""
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet, routing={"strategy": "round_robin"}) as gateway:
        fleet[0].faults.add(case.partition(" ")[2], **BREAKS[case])
        began = time.monotonic()
        answer = await stream(gateway)
        assert time.monotonic() - began < 5
        assert answer.status == 200
        assert_broken_off(answer.body.decode(), "upstream_error")
        row = await Booked("settled", "gpu-a", 1, 502, "upstream_error", "upstream", "cut").check(gateway)
        assert row.prompt_tokens == truth(gateway).prompt_tokens
        assert 0 < contents(answer) <= row.completion_tokens <= truth(gateway).generated
        assert [len(calls(each)) for each in fleet] == [1, 0]
        ((endpoint, outcome, reason),) = learnt(gateway)
        assert (endpoint, outcome) == ("gpu-a", "failure")
        assert gateway.house.hearing.calls.interruptions == {("gpu-a", reason): 1}
        assert states(gateway)[1] == "closed"


async def test_u41_what_comes_after_done_is_ignored_and_billed_once():
    async with running([Simulator(**QUICK)]) as gateway:
        gateway.simulators[0].faults.add("after_done", body="data: [DONE]\n\n")
        answer = await gateway.ask("short", stream=True)
        assert answer.text.count("[DONE]") == 1
        assert (await gateway.row()).completion_tokens == truth(gateway).generated


async def test_missing_done_after_a_finish_is_a_failure_of_the_endpoint():
    """vLLM always sends it: without it nobody knows whether all of the answer has come."""
    async with running([Simulator(**QUICK)]) as gateway:
        gateway.simulators[0].faults.add("no_done")
        answer = await gateway.ask("short", stream=True)
        row = await gateway.row()
        assert row.completion_tokens == truth(gateway).generated
        assert ("[DONE]" in answer.text) == (row.error_code is None)


async def test_sdk_raises_when_an_endpoint_is_killed_in_mid_stream():
    async with running([Simulator(ttft=0.005, itl=0.01)]) as gateway:
        chunks = []
        with pytest.raises(openai.APIError) as caught:
            async for chunk in await gateway.sdk.chat.completions.create(**chat("forever"), stream=True):
                chunks.append(chunk)
                if len(chunks) == 5:
                    gateway.simulators[0].kill_engine()
        assert caught.value.code == "upstream_error"
        row = await gateway.row()
        assert (row.state, row.finish, row.usage_source) == ("settled", "cut", "upstream")
        assert 4 <= row.completion_tokens <= truth(gateway).generated


@pytest.mark.parametrize("mode", ["abort", "silent"])
async def test_endpoint_that_is_terminated_never_ends_a_stream_as_if_it_were_whole(mode):
    async with running([Simulator(ttft=0.005, itl=0.01)], resilience={"timeouts": {"idle": 0.3}}) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request("forever", stream=True))
        await caller.reader.readuntil(b'"content":"')
        gateway.simulators[0].terminate(mode)
        rest = await caller.closed()
        assert b"[DONE]" not in rest
        assert b'"error"' in rest
        code = "upstream_error" if mode == "abort" else "upstream_idle_timeout"
        assert (await gateway.row()).error_code == code


async def test_endpoint_that_drains_finishes_its_streams_and_gets_no_new_ones():
    fleet = [Simulator(ttft=0.005, itl=0.005), Simulator(**QUICK)]
    async with running(fleet, routing={"strategy": "round_robin"}) as gateway:
        asking = asyncio.create_task(gateway.ask("100 tokens", stream=True))
        await until(lambda: any(simulator.truth.active for simulator in fleet))
        leaving, staying = sorted(fleet, key=lambda simulator: not simulator.truth.active)
        leaving.terminate("drain", timeout=5)
        for _ in range(10):
            assert (await gateway.ask("short")).status_code == 200
        assert (await asking).text.endswith("data: [DONE]\n\n")
        assert len(calls(staying)) == 10
        assert len(calls(leaving)) <= 2


async def test_u06_silence_in_mid_stream_ends_after_the_idle_time():
    async with running([Simulator(**QUICK)], resilience={"timeouts": {"idle": 0.3}}) as gateway:
        gateway.simulators[0].faults.add("stall", after_tokens=5)
        answer = await stream(gateway)
        assert last_event(answer)["error"]["code"] == "upstream_idle_timeout"
        assert b"[DONE]" not in answer.body
        await until(lambda: truth(gateway).aborted is not None)
        row = await gateway.row()
        assert (row.state, row.finish, row.error_code) == ("settled", "timeout", "upstream_idle_timeout")
        assert row.completion_tokens > 0


async def test_u08_slow_stream_that_keeps_coming_is_never_idle():
    """Eight tokens take three times the idle limit."""
    async with running([Simulator(ttft=0.005, itl=0.15)], resilience={"timeouts": {"idle": 0.4}}) as gateway:
        answer = await gateway.ask("8 tokens", stream=True)
        assert answer.text.endswith("data: [DONE]\n\n")
        await Booked("settled", "gpu-a", 1, source="upstream", finish="stop").check(gateway)
        assert learnt(gateway) == {("gpu-a", "success", "none"): 1}


async def test_queued_stream_gets_its_head_and_pings_while_it_waits():
    """Nothing came within commit_after: load balancers in front must see that somebody is there."""
    async with running(
        [Simulator(ttft=0.3, itl=0.001)], server={"commit_after": 0.05, "ping": 0.05}
    ) as gateway:
        answer = await gateway.ask("short", stream=True)
        assert answer.status_code == 200
        assert answer.text.startswith(": ping\n\n: ping\n\n")
        assert answer.text.endswith("data: [DONE]\n\n")


async def test_stream_in_the_queue_is_not_committed_to_anything():
    """commit_after counts from the dispatch: whoever waited in vain gets a real 503."""
    crowded = {"bulkhead": {"max_concurrent_calls": 1}, "queue": {"max_wait": 0.3}}
    early = {"commit_after": 0.02, "ping": 0.02}
    async with running([Simulator(ttft=30)], server=early, resilience=crowded) as gateway:
        first = await gateway.caller()
        first.say(gateway.request())
        await until(lambda: calls(*gateway.simulators))
        answer = await gateway.ask(stream=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        first.hang_up()


async def test_failure_after_the_first_ping_is_an_event():
    async with running([Simulator(**QUICK)], server={"commit_after": 0.05, "ping": 0.05}) as gateway:
        gateway.simulators[0].faults.add("head_then_silence", match={"path": "/v1/chat/completions"})
        answer = await stream(gateway)
        assert answer.status == 200
        assert last_event(answer)["error"]["code"] == "upstream_first_byte_timeout"
        assert b"[DONE]" not in answer.body


async def test_in_band_error_as_the_first_event_gets_its_real_status():
    """vLLM says 200 first and complains afterwards; the caller hears 400."""
    async with running([Simulator(**QUICK)]) as gateway:
        body = chat(stream=True, logit_bias={"999999": 1})
        answer = await gateway.client.post(CHAT, json=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["code"] == 400
        assert (await gateway.row()).state == "void"
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"


async def test_nothing_is_tried_again_after_the_first_event():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(fleet) as gateway:
        for simulator in fleet:
            simulator.faults.add("rst", after_tokens=1, count=None)
        answer = await stream(gateway)
        assert b"[DONE]" not in answer.body
        assert len(calls(*fleet)) == 1


async def test_answers_leave_without_waiting_for_more():
    """On either event loop: with Nagle's algorithm every answer would be 40 ms late."""
    async with running([Simulator(**QUICK)]) as gateway:
        await gateway.ask("short")
        (connection,) = gateway.data.connections
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
