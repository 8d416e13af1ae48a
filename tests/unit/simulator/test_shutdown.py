"""The ends of a server: SIGTERM in its modes, and the death of the engine."""

from __future__ import annotations

import asyncio

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import Line, ask, chat, get, occupied, post, until

DRAIN = "cannot schedule new futures after shutdown"


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.001, itl=0.005, max_num_seqs=2) as simulator:
        yield simulator


async def refused(sim) -> bool:
    try:
        await ask(sim, get("/health"))
    except ConnectionRefusedError:
        return True
    return False


async def tokens(line: Line, count: int) -> None:
    await line.events(count + 1)


async def test_abort_ends_running_streams_with_abort_and_waiting_ones_without_a_reason(sim):
    async with occupied(sim, 2) as running, await Line.to(sim) as waiting, await Line.to(sim) as whole:
        await tokens(running[0], 2)
        waiting.send(post(chat("short", stream=True)))
        await waiting.head()
        whole.send(post(chat("short")))
        await until(lambda: len(sim.truth.records) == 4)
        sim.terminate("abort")
        rest = await asyncio.wait_for(running[0].reader.readuntil(b"0\r\n\r\n"), 1)
        left = await asyncio.wait_for(waiting.reader.readuntil(b"0\r\n\r\n"), 1)
        answer = await whole.hear()
    assert b'"finish_reason":"abort"' in rest
    assert b"data: [DONE]" in rest
    assert b'"role":"assistant"' in left
    assert b'"finish_reason":"abort"' not in left
    assert b"data: [DONE]" in left
    choice = answer.json()["choices"][0]
    assert (answer.status, choice["message"]["content"], choice["finish_reason"]) == (200, "", "abort")
    assert answer.json()["usage"]["completion_tokens"] == 0
    assert await refused(sim)
    assert [record.finish for record in sim.truth.records] == [["abort"]] * 4


async def test_silence_says_nothing_more_and_waits_for_its_clients(sim):
    async with occupied(sim, 1) as (line,):
        await tokens(line, 2)
        sim.terminate("silent")
        with pytest.raises(TimeoutError):
            while await asyncio.wait_for(line.reader.read(65536), 0.06):
                pass
        assert await refused(sim)
        assert not sim.ended.is_set()
    await asyncio.wait_for(sim.ended.wait(), 1)


async def test_silence_closes_connections_that_wait_for_nothing(sim):
    async with occupied(sim, 1), await Line.to(sim) as line:
        await line.ask(get("/version"))
        sim.terminate("silent")
        assert await asyncio.wait_for(line.reader.read(), 1) == b""


async def test_a_drain_finishes_what_runs_refuses_what_comes_and_keeps_its_port(sim):
    async with occupied(sim, 1, max_tokens=20) as (line,):
        sim.terminate("drain", timeout=0.4)
        refusal = await ask(sim, post(chat("short")))
        health = await ask(sim, get("/health"))
        rest = await line.reader.readuntil(b"0\r\n\r\n")
    assert (refusal.status, refusal.json()["error"]["message"], health.status) == (500, DRAIN, 200)
    assert b'"finish_reason":"length"' in rest
    assert sim.listening
    await until(lambda: not sim.listening)
    assert await refused(sim)


async def test_a_drain_aborts_what_has_not_finished_in_time(sim):
    async with occupied(sim, 1) as (line,):
        sim.terminate("drain", timeout=0.05)
        assert b'"finish_reason":"abort"' in await asyncio.wait_for(line.reader.readuntil(b"0\r\n\r\n"), 1)


@pytest.mark.parametrize(
    ("options", "draining", "silent"),
    [({}, True, False), ({"silent_shutdown": True}, False, True), ({"shutdown_timeout": 9.0}, True, False)],
)
async def test_the_options_choose_the_mode(options, draining, silent):
    async with Simulator(**options) as sim:
        sim.terminate()
        assert (sim.instance.draining, sim.instance.silent) == (draining, silent)
        assert sim.listening == ("shutdown_timeout" in options)


async def test_an_unknown_mode_is_refused(sim):
    with pytest.raises(ValueError, match="unknown mode"):
        sim.terminate("nonsense")


async def test_a_dead_engine_fails_what_runs_and_what_comes_and_closes_its_port(sim):
    async with occupied(sim, 1) as (line,), await Line.to(sim) as whole, await Line.to(sim) as late:
        whole.send(post(chat("forever")))
        await until(lambda: len(sim.truth.records) == 2)
        await late.ask(get("/version"))
        sim.kill_engine()
        rest = await line.reader.readuntil(b"0\r\n\r\n")
        failed, next_one = await whole.hear(), await late.ask(post(chat("short", stream=True)))
        assert (await late.ask(get("/health"))).status == 503
    assert b'data: {"error": {"message": "EngineCore encountered an issue.' in rest
    assert b"data: [DONE]" in rest
    assert (failed.status, next_one.status) == (500, 500)
    assert await refused(sim)
    assert sim.truth.records[0].finish == ["error"]


@pytest.mark.parametrize("stream", [True, False])
async def test_who_has_fallen_silent_stays_silent(sim, stream):
    sim.faults.add("stall", after_tokens=1)
    async with await Line.to(sim) as line:
        line.send(post(chat("forever", stream=stream)))
        await until(lambda: sim.truth.records and sim.truth.last.generated == 1)
        sim.kill_engine()
        with pytest.raises(TimeoutError):
            while await asyncio.wait_for(line.reader.read(65536), 0.05):
                pass


async def test_the_process_is_gone_after_its_engine(sim, monkeypatch):
    monkeypatch.setattr("app.simulator.shutdown._EXIT_DELAY", 0.02)
    async with await Line.to(sim) as line:
        await line.ask(get("/version"))
        sim.kill_engine()
        assert await asyncio.wait_for(line.reader.read(), 1) == b""
    assert sim.ended.is_set()


async def test_an_idle_connection_is_closed_and_a_busy_one_after_its_answer(sim):
    async with await Line.to(sim) as idle, occupied(sim, 1) as (busy,):
        await idle.ask(get("/version"))
        sim.terminate("abort")
        assert await asyncio.wait_for(idle.reader.read(), 1) == b""
        assert (await asyncio.wait_for(busy.reader.read(), 1)).endswith(b"0\r\n\r\n")
