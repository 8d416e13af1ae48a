"""Engines that speak before they answer: what they say first neither ends a limit nor reaches a caller."""

from __future__ import annotations

import json

import pytest

from app.simulator import Simulator
from tests.house import running, until
from tests.line import DONE, HEL, ROLE, WHOLE, event
from tests.scripted import STREAMS, scripted, streams

IMPATIENT = {"timeouts": {"first_byte": 0.5, "idle": 5, "stream_total": 20}}
PING = b": keep-alive\n\n"
NO_CHOICE = b'data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0}}\n\n'
EARLY = {
    "role": [ROLE],
    "pings": [PING] * 3,
    "usage": [NO_CHOICE],
    "all of them": [PING, ROLE, PING, NO_CHOICE],
}


@pytest.mark.parametrize("kind", ["respx", "direct"])
@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY.keys())
async def test_u05_engine_that_hangs_after_its_first_words_is_a_clean_504(kind, early):
    async with scripted(kind, streams(*early, end="silence"), resilience=IMPATIENT) as (gateway, _):
        answer = await gateway.ask(stream=True)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_first_byte_timeout"
        assert answer.headers["x-should-retry"] == "false"
        row = await gateway.row()
        assert (row.state, row.finish) == ("settled", "timeout")


@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY.keys())
async def test_u44_head_role_and_pings_do_not_speak_for_an_engine_that_hangs(early):
    resilience = IMPATIENT | {"breaker": {"consecutive_failures": 2, "wait_in_open": 600}}
    async with scripted("direct", streams(*early, end="silence"), resilience=resilience) as (gateway, _):
        for _ in range(2):
            assert (await gateway.ask(stream=True)).status_code == 504
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "open"
        assert (await gateway.ask(stream=True)).status_code == 503


@pytest.mark.parametrize("kind", ["respx", "direct"])
@pytest.mark.parametrize("end", ["cut", "whole"])
async def test_engine_that_dies_after_its_role_costs_the_caller_nothing(kind, end):
    """Cut, and what a vLLM that shuts down tells a request in its queue: the role and an empty end."""
    act = streams(ROLE, *([DONE] if end == "whole" else []), end=end)
    async with scripted(kind, act, STREAMS) as (gateway, (dying, living)):
        answer = await gateway.ask(stream=True)
        assert answer.status_code == 200
        assert answer.text.count('"role"') == 1
        assert answer.text.endswith("data: [DONE]\n\n")
        assert (len(dying.asked), len(living.asked)) == (1, 1)


async def test_after_our_own_head_and_pings_the_call_is_still_mended_elsewhere():
    """The head and the pings are ours; nothing of either engine has reached the caller."""
    act = streams(*[PING, ROLE] * 30, end="cut")
    settings = {"server": {"commit_after": 0.01, "ping": 0.01}}
    async with scripted("direct", act, STREAMS, **settings) as (gateway, _):
        answer = await gateway.ask(stream=True)
        assert answer.text.count('"role"') == 1
        assert answer.text.endswith("data: [DONE]\n\n")


async def test_role_and_first_text_leave_together_as_soon_as_the_text_is_there():
    """The stream goes on for ever: what is held must not wait for more than the first text."""
    async with scripted("direct", streams(ROLE, HEL, end="silence")) as (gateway, _):
        caller = await gateway.caller()
        caller.say(gateway.request(stream=True))
        seen = await caller.reader.readuntil(b"Hel")
        assert b'"role"' in seen
        caller.hang_up()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
        ("/v1/completions", {"prompt": "hello"}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}),
    ],
)
async def test_every_surface_waits_for_its_first_token_within_first_byte(path, body):
    """The engine is paused: it sends the head, and of a response its first events, but never a token."""
    async with running([Simulator(ttft=0.005, itl=0.002)], resilience=IMPATIENT) as gateway:
        body = {"model": "tiny", "stream": True} | body
        whole = await gateway.client.post(path, json=body)
        assert whole.status_code == 200
        assert b"error" not in whole.content
        gateway.simulators[0].pause()
        try:
            answer = await gateway.client.post(path, json=body)
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "upstream_first_byte_timeout"
        finally:
            gateway.simulators[0].resume()
        await until(lambda: gateway.simulators[0].idle)


async def test_reasoning_is_useful():
    thinking = event({"reasoning": "hm"}, tokens=1)
    act = streams(ROLE, thinking, end="silence")
    settings = {"resilience": {"timeouts": {"first_byte": 10, "idle": 0.3}}}
    async with scripted("direct", act, **settings) as (gateway, _):
        answer = await gateway.ask(stream=True)
        assert answer.status_code == 200
        last = json.loads(answer.text.rstrip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] == "upstream_idle_timeout"


async def test_events_of_a_whole_stream_are_the_same_as_ever():
    async with scripted("direct", streams(*WHOLE)) as (gateway, _):
        answer = await gateway.ask(stream=True)
        events = [line for line in answer.text.split("\n\n") if line]
        assert len(events) == len(WHOLE)
        assert events[-1] == "data: [DONE]"
