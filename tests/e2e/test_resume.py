"""Streams that outlive their endpoint, over real sockets: simulated engines that die, and wires that are cut."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.simulator import Simulator
from tests.continuing import Read, read
from tests.house import at, calls, quiet, running, until
from tests.scissors import Scissors

QUICK = {"ttft": 0.001, "itl": 0.0}
SLOW = {"ttft": 0.001, "itl": 0.02}
RESUMES = {"tiny": {"resume": True}}
BOLD = {
    "retry": {"max_attempts": 4, "budget_min_per_second": 1000},
    "breaker": {"consecutive_failures": 10_000, "minimum_calls": 10_000, "sliding_window_size": 10_000},
}
"""One death after another, and no breaker opens."""


def first_to_last(simulators):
    """In this order, as long as each is there."""
    return [at(simulator, tier=tier) for tier, simulator in enumerate(simulators)]


async def told(gateway, prompt: str, surface: str = "chat", **fields) -> Read:
    if surface == "completions":
        body = {"model": "tiny", "prompt": prompt, "max_tokens": 300, "stream": True, **fields}
        return read((await gateway.post("/v1/completions", body)).content)
    return read((await gateway.ask(prompt, stream=True, **fields)).content)


def whole(answer: Read, surface: str) -> None:
    assert answer.errors == []
    assert (answer.finishes, answer.dones, len(answer.heads)) == (["stop"], 1, 1)
    assert answer.roles == (surface == "chat")


@pytest.mark.parametrize("surface", ["chat", "completions"])
@pytest.mark.parametrize("prompt", ["unicode", "count"])
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
async def test_answer_is_whole_whatever_token_the_engine_dies_after(surface, prompt, every):
    usage = {"include_usage": True, "continuous_usage_stats": True}
    fleet = [Simulator(**QUICK) for _ in range(3)]
    async with running(first_to_last(fleet), resilience=BOLD, model_config=RESUMES) as gateway:
        same = await told(gateway, prompt, surface, stream_options=usage)
        (total,) = same.usages
        for tokens in range(1, total["completion_tokens"], every):
            fleet[0].faults.add("rst", after_tokens=tokens)
            if tokens % 8 >= 4:
                half = max(1, (total["completion_tokens"] - tokens) // 2)
                fleet[1].faults.add("error", message="A fault, and no death.", after_tokens=half)
            answer = await told(gateway, prompt, surface, stream_options=usage)
            whole(answer, surface)
            assert answer.text == same.text
            assert answer.usages[0]["prompt_tokens"] == total["prompt_tokens"]
            assert total["completion_tokens"] <= answer.usages[0]["completion_tokens"]
            assert answer.running == sorted(answer.running)
            for simulator in fleet:
                simulator.faults.clear()
        rows = await gateway.rows()
        assert len(rows) == 1 + len(range(1, total["completion_tokens"], every))
        assert {row.finish for row in rows} == {"stop"}
        assert {row.usage_source for row in rows} == {"upstream"}
        assert {row.attempts for row in rows} <= {1, 2, 3}
        assert sum(row.attempts > 1 for row in rows) >= len(rows) - 3


@pytest.mark.parametrize("surface", ["chat", "completions"])
async def test_answer_is_whole_wherever_the_wire_is_cut(surface):
    """In 120 places of the bytes as they travel: in heads, chunk sizes, events and characters."""
    dice = random.Random(surface)
    async with Simulator(**QUICK) as engine, Scissors(engine.url) as wire:
        fleet = [at(wire, tier=0), at(Simulator(**QUICK), tier=1)]
        async with running(fleet, resilience=BOLD, model_config=RESUMES) as gateway:
            same = await told(gateway, "unicode", surface)
            longest = wire.longest
            for _ in range(120):
                wire.after = dice.randrange(1, longest)
                answer = await told(gateway, "unicode", surface)
                whole(answer, surface)
                assert answer.text == same.text
            wire.after = None
            await until(lambda: engine.idle)
            assert wire.cuts == 120
            assert len(await gateway.rows()) == 121


@pytest.mark.parametrize("death", ["kill", "abort", "silent"])
async def test_sdk_reads_on_though_the_engine_is_gone(death):
    idle = {"timeouts": {"idle": 0.5, "first_byte": 5, "stream_total": 60}}
    fleet = [Simulator(**SLOW), Simulator(**QUICK)]
    async with running(first_to_last(fleet), model_config=RESUMES, resilience=idle) as gateway:
        stream = await gateway.sdk.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        pieces, usage, finishes = [], None, []
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                pieces.append(choice.delta.content or "")
                finishes += [choice.finish_reason] if choice.finish_reason else []
            if len(pieces) == 10:
                if death == "kill":
                    fleet[0].kill_engine()
                else:
                    fleet[0].terminate(death)
        assert "".join(pieces).startswith("Hello! I am a tiny random test model")
        assert "".join(pieces).endswith("Have a nice day.")
        assert finishes == ["stop"]
        row = await gateway.row()
        assert (row.state, row.finish, row.attempts, row.endpoint) == ("settled", "stop", 2, "gpu-b")
        assert (row.prompt_tokens, row.completion_tokens) == (usage.prompt_tokens, usage.completion_tokens)
        assert (row.usage_source, row.wasted_tokens, row.prompt_tokens) == ("upstream", 0, 12)
        first, second = calls(*fleet)
        assert (first.prompt_tokens, second.prompt_tokens > first.prompt_tokens) == (12, True)
        assert 50 <= row.completion_tokens <= 52


@pytest.mark.parametrize("transport", ["direct", "httpx"])
async def test_limits_are_charged_what_both_generated(transport):
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(first_to_last(fleet), model_config=RESUMES, transport=transport) as gateway:
        await gateway.limit(tokens_per_day=100_000)
        fleet[0].faults.add("cut", after_tokens=20)
        whole(await told(gateway, "hello", max_tokens=60), "chat")
        row = await gateway.row()
        day = (await gateway.client.get("/v1/me")).json()
        assert str(row.prompt_tokens + row.completion_tokens) in str(day)
        assert (row.prompt_tokens, row.completion_tokens) == (12, 50)


async def test_caller_who_hangs_up_meanwhile_stops_everything():
    fleet = [Simulator(**QUICK), Simulator(**QUICK)]
    async with running(first_to_last(fleet), model_config=RESUMES) as gateway:
        fleet[0].faults.add("rst", after_tokens=5)
        fleet[1].faults.add("head_then_silence")
        caller = await gateway.caller()
        caller.say(gateway.request(stream=True))
        await until(lambda: calls(fleet[1]))
        caller.hang_up()
        await quiet(gateway)
        row = await gateway.row()
        assert (row.status, row.finish, row.state) == (499, "hang_up", "settled")
        assert 0 < row.completion_tokens <= 5


async def test_caller_hears_comments_while_the_other_endpoint_reads():
    fleet = [Simulator(**QUICK), Simulator(ttft=0.5)]
    server = {"ping": 0.1, "commit_after": 10}
    async with running(first_to_last(fleet), model_config=RESUMES, server=server) as gateway:
        fleet[0].faults.add("cut", after_tokens=5)
        reply = await gateway.ask("hello", stream=True)
        begun, *between, rest = reply.text.split(": ping\n\n")
        assert ("Hel" in begun, "[DONE]" in rest) == (True, True)
        assert between
        assert not any(between), "all of them come together, and before what follows"
        whole(read(reply.content), "chat")


async def test_nobody_left_is_the_error_as_ever():
    fleet = [Simulator(**QUICK)]
    async with running(fleet, ops=True, model_config=RESUMES) as gateway:
        fleet[0].faults.add("cut", after_tokens=5)
        answer = await told(gateway, "hello")
        assert [error["code"] for error in answer.errors] == ["upstream_error"]
        assert (answer.dones, answer.finishes, answer.roles) == (0, [], 1)
        row = await gateway.row()
        assert (row.state, row.finish, row.completion_tokens, row.attempts) == ("settled", "cut", 5, 1)
        page = await gateway.client.get(f"{gateway.ops_url}/metrics")
        assert 'sluice_stream_resumes_total{model="tiny",outcome="failed"} 1.0' in page.text


async def test_endpoints_can_be_restarted_one_by_one_without_a_lost_stream():
    fleet = [Simulator(ttft=0.001, itl=0.01) for _ in range(3)]
    bold = BOLD | {"timeouts": {"idle": 1, "first_byte": 5, "stream_total": 60}}
    async with running(fleet, model_config=RESUMES, resilience=bold) as gateway:
        same = await told(gateway, "count")
        streams = [asyncio.ensure_future(told(gateway, "count")) for _ in range(30)]
        for simulator in fleet:
            await until(
                lambda simulator=simulator: (
                    len(simulator.instance.generations) > 5
                    or not any(not stream.done() for stream in streams)
                )
            )
            simulator.terminate("abort")
            async with asyncio.timeout(20):
                await simulator.ended.wait()
            await simulator.restart()
        for answer in await asyncio.gather(*streams):
            whole(answer, "chat")
            assert answer.text == same.text
