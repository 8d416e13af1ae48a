"""Endpoints that take a call and then say nothing, or nothing more; and that they hear when they are left."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.core.errors import Stopped
from app.server.lifecycle import State
from app.simulator import Simulator
from tests.faults.behaviours import SSE, chunk, flooding, never_answers, saying_then_silence
from tests.faults.contract import assert_broken_off, assert_refused
from tests.faults.fleets import Booked, fleet, hits, learnt, left, served, states
from tests.house import SOON, calls, running, until
from tests.line import HEL, ROLE

FIRST_BYTE, TOTAL, IDLE = 0.3, 0.6, 0.3
LATE = 3.0
"""Seconds that anything may be late on a busy machine."""

SILENCES = {
    "u03 never answers": never_answers,
    "u04 half a head": saying_then_silence(b"HTTP/1.1 200 OK\r\nContent-Type:"),
    "u05 head alone": saying_then_silence(SSE),
}
TIMES = {"timeouts": {"first_byte": FIRST_BYTE, "total": TOTAL}}


async def timed(asking):
    began = time.monotonic()
    reply = await asking
    return reply, time.monotonic() - began


@pytest.mark.parametrize("others", ["one is well", "all are silent"])
@pytest.mark.parametrize("case", SILENCES)
async def test_silence_before_the_first_event_is_a_504_at_the_limit_and_asked_once(case, others):
    """Nobody else is asked: the engine may be at work."""
    silent = [SILENCES[case]] * (1 if others == "one is well" else 2)
    async with fleet(*silent, healthy=2 - len(silent), resilience=TIMES) as (gateway, (server, *rest)):
        reply, took = await timed(gateway.ask(stream=True))
        assert_refused(reply, "upstream_first_byte_timeout")
        assert FIRST_BYTE <= took < FIRST_BYTE + LATE
        await left(server)
        assert [hits(server), *map(hits, rest), served(gateway)][:2] == [1, 0]
        row = await Booked(
            "settled", "gpu-a", 1, 504, "upstream_first_byte_timeout", "estimated", "timeout"
        ).check(gateway)
        assert (row.prompt_tokens > 0, row.completion_tokens) == (True, 0)
        assert learnt(gateway) == {("gpu-a", "failure", "first_byte"): 1}
        assert states(gateway) == ["closed", "closed"]


@pytest.mark.parametrize("case", list(SILENCES)[:2])
async def test_silence_before_a_json_answer_ends_at_the_total_and_blames_nobody(case):
    async with fleet(SILENCES[case], healthy=1, resilience=TIMES) as (gateway, (server,)):
        reply, took = await timed(gateway.ask())
        assert_refused(reply, "upstream_total_timeout")
        assert TOTAL <= took < TOTAL + LATE
        await left(server)
        assert (hits(server), served(gateway)) == (1, 0)
        await Booked("settled", "gpu-a", 1, 504, "upstream_total_timeout", "estimated", "timeout").check(
            gateway
        )
        assert learnt(gateway) == {("gpu-a", "ignored", "total"): 1}


async def test_u06_silence_in_mid_stream_is_an_error_event_at_the_idle_limit():
    stalled = saying_then_silence(SSE, chunk(ROLE), chunk(HEL))
    limits = {"timeouts": {"idle": IDLE}}
    async with fleet(stalled, healthy=1, resilience=limits) as (gateway, (server,)):
        reply, took = await timed(gateway.ask(stream=True))
        assert reply.status_code == 200
        assert_broken_off(reply.text, "upstream_idle_timeout")
        assert IDLE <= took < IDLE + LATE
        await left(server)
        assert (hits(server), served(gateway)) == (1, 0)
        row = await Booked("settled", "gpu-a", 1, 504, "upstream_idle_timeout", "upstream", "timeout").check(
            gateway
        )
        assert (row.prompt_tokens, row.completion_tokens, row.wasted_tokens) == (5, 1, 1)
        assert learnt(gateway) == {("gpu-a", "failure", "idle"): 1}
        assert gateway.house.hearing.calls.interruptions == {("gpu-a", "idle"): 1}


async def test_u44_endpoint_that_says_it_is_well_and_hangs_is_left_out_and_stays_out():
    """Its health is good all the time: what calls see counts for more."""
    probes = {"interval": 0.05, "interval_down": 0.05, "timeout": 0.5}
    limits = {"timeouts": {"first_byte": 0.5}}
    async with fleet(never_answers, healthy=1, resilience=limits, health=probes) as (gateway, (server,)):
        statuses = [(await gateway.ask("short", stream=True)).status_code for _ in range(30)]
        assert 1 <= hits(server) == statuses.count(504) <= 3
        assert set(statuses) == {200, 504}
        probed = sum(request.path == "/health" for request in server.log.requests)
        await until(lambda: sum(request.path == "/health" for request in server.log.requests) > probed + 5)
        assert [(await gateway.ask("short", stream=True)).status_code for _ in range(10)] == [200] * 10
        assert hits(server) == statuses.count(504)
        assert gateway.house.fleet.endpoints["gpu-a"].standing.health == "up"


async def hang_up_at_once(gateway, caller):
    caller.hang_up()


async def hang_up_in_mid_stream(gateway, caller):
    await caller.reader.readuntil(b'"content":"')
    caller.hang_up()


async def wait_in_vain(gateway, caller):
    """Some limit ends the call."""


async def have_it_stopped(gateway, caller):
    gateway.house.hearing.inflight.stop_all(Stopped())


async def shut_down(gateway, caller):
    gateway.house.lifecycle.stop()
    await gateway.house.lifecycle.reached(State.STOPPED)


async def test_u56_endpoint_hears_of_a_caller_who_left_without_ever_reading():
    """The gateway stands in the midst of a write when it is left."""
    async with fleet(flooding(SSE, chunk(HEL * 200))) as (gateway, (server,)):
        caller = await gateway.caller()
        caller.writer.transport.pause_reading()
        caller.say(gateway.request(stream=True))
        await until(lambda: hits(server))
        (connection,) = gateway.data.connections
        await until(lambda: connection.transport.get_write_buffer_size() > 0)
        (live,) = gateway.house.fleet.endpoints.values()
        caller.hang_up()
        began = time.monotonic()
        await until(lambda: gateway.house.transport.connections(live.spec) == (0, 0))
        assert time.monotonic() - began < LATE
        await until(lambda: not gateway.data.tasks)
        row = await Booked("settled", "gpu-a", 1, 499, "caller_gone", "upstream", "hang_up").check(gateway)
        assert row.prompt_tokens == 5
        assert states(gateway) == ["closed"]


LEAVES = {
    "before the first event": ({"ttft": 30}, True, hang_up_at_once, {}),
    "while it waits for json": ({"ttft": 30}, False, hang_up_at_once, {}),
    "in mid-stream": ({"itl": 0.01}, True, hang_up_in_mid_stream, {}),
    "first byte": ({"ttft": 30}, True, wait_in_vain, {"first_byte": FIRST_BYTE}),
    "total": ({"ttft": 30}, False, wait_in_vain, {"total": TOTAL}),
    "idle": ({"itl": 30}, True, wait_in_vain, {"idle": IDLE}),
    "stopped by an operator": ({"itl": 0.01}, True, have_it_stopped, {}),
    "the end of the drain": ({"itl": 0.01}, True, shut_down, {}),
}
"""By what ends the call: the engine's pace, whether it streams, what is done, and the limit that is short."""

DRAIN = 0.1
PATIENCE = {"first_byte": 30, "idle": 30, "total": 30}


@pytest.mark.parametrize("case", LEAVES)
async def test_u56_endpoint_hears_of_every_end_of_a_call_at_once(case):
    pace, stream, leave, short = LEAVES[case]
    engine = Simulator(**{"ttft": 0.001, "itl": 0.001} | pace)
    limits = {"timeouts": PATIENCE | short}
    async with running([engine], resilience=limits, server={"drain": DRAIN}) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request("forever", stream=stream))
        await until(lambda: engine.truth.active)
        began = time.time()
        async with asyncio.timeout(SOON):
            await leave(gateway, caller)
        await until(lambda: calls(engine)[0].aborted is not None)
        limit = sum(short.values()) if short else DRAIN if leave is shut_down else 0.0
        delay = calls(engine)[0].aborted - began - limit
        print(f"the engine heard of {case} after {delay * 1000:.1f} ms")
        assert delay < LATE
        assert not engine.truth.active
        assert len(calls(engine)) == 1
        await until(lambda: not gateway.data.tasks)
        assert (await gateway.row()).state == "settled"
