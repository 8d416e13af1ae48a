from __future__ import annotations

import asyncio
import json

import pytest

from tests.house import until
from tests.line import DONE, HEL, LO, ROLE, STOP, WHOLE, event
from tests.scripted import ANSWERS, SILENT, STREAMS, scripted, streams

BROKEN = {
    "cut": streams(ROLE, HEL, end="cut"),
    "unfinished": streams(ROLE, HEL, DONE),
    "without an end": streams(ROLE, HEL),
    "aborted": streams(ROLE, HEL, event({}, finish="abort", tokens=1), DONE),
    "failed in band": streams(
        ROLE,
        HEL,
        b'data: {"error": {"message": "x", "type": "InternalServerError", "param": null, "code": 500}}\n\n',
        DONE,
    ),
}


@pytest.fixture(params=["respx", "direct"])
def kind(request):
    return request.param


def texts(reply):
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    return "".join(c["delta"].get("content") or "" for e in events for c in e.get("choices", ()))


async def test_stream_comes_through_without_the_usage_nobody_asked_for(kind):
    async with scripted(kind, STREAMS) as (gateway, (endpoint,)):
        reply = await gateway.ask(stream=True)
        assert texts(reply) == "Hello"
        assert reply.text.endswith("data: [DONE]\n\n")
        assert "usage" not in reply.text
        assert '"model":"tiny"' in reply.text
        assert endpoint.asked[0][1]["stream_options"] == {
            "include_usage": True,
            "continuous_usage_stats": True,
        }
        row = await gateway.row()
        assert (row.prompt_tokens, row.completion_tokens, row.usage_source) == (5, 3, "upstream")


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_u39_stream_in_pieces_says_the_same(kind, size):
    raw = b"".join(WHOLE)
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    async with scripted(kind, STREAMS) as (gateway, _):
        entire = await gateway.ask(stream=True)
    async with scripted(kind, streams(*pieces)) as (gateway, _):
        assert (await gateway.ask(stream=True)).text == entire.text


@pytest.mark.parametrize("name", BROKEN)
async def test_stream_that_did_not_finish_ends_in_an_error(kind, name):
    async with scripted(kind, BROKEN[name]) as (gateway, _):
        reply = await gateway.ask(stream=True)
        assert texts(reply) == "Hel"
        last = reply.text.rstrip().split("\n\n")[-1].removeprefix("data: ")
        assert json.loads(last)["error"]["code"] == "upstream_error"
        assert "[DONE]" not in reply.text
        row = await gateway.row()
        assert (row.state, row.completion_tokens, row.wasted_tokens) == ("settled", 1, 1)


async def test_silence_in_a_stream_ends_it(kind):
    short = {"timeouts": {"idle": 0.2}}
    async with scripted(kind, streams(ROLE, HEL, end="silence"), resilience=short) as (gateway, (endpoint,)):
        reply = await gateway.ask(stream=True)
        assert '"upstream_idle_timeout"' in reply.text
        assert "[DONE]" not in reply.text
        async with asyncio.timeout(2):
            await endpoint.left.wait()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_hang_up_before_the_first_byte_reaches_the_endpoint(kind, stream):
    async with scripted(kind, SILENT) as (gateway, (endpoint,)):
        caller = await gateway.caller()
        caller.say(gateway.request(stream=stream))
        await until(lambda: endpoint.asked)
        caller.hang_up()
        async with asyncio.timeout(1):
            await endpoint.left.wait()
        assert (await gateway.row()).finish == "hang_up"


async def test_hang_up_in_a_stream_reaches_the_endpoint(kind):
    async with scripted(kind, streams(ROLE, HEL, end="silence")) as (gateway, (endpoint,)):
        caller = await gateway.caller()
        caller.say(gateway.request(stream=True))
        await caller.reader.readuntil(b"Hel")
        caller.hang_up()
        async with asyncio.timeout(1):
            await endpoint.left.wait()
        row = await gateway.row()
        assert (row.status, row.finish, row.completion_tokens) == (499, "hang_up", 1)


async def test_comments_of_the_endpoint_are_no_first_event(kind):
    act = streams(b": keep-alive\n\n", b": keep-alive\n\n", ROLE, HEL, LO, STOP, DONE)
    async with scripted(kind, act) as (gateway, _):
        assert texts(await gateway.ask(stream=True)) == "Hello"


async def test_u38_event_that_cannot_be_read_breaks_nothing_off_silently(kind):
    act = streams(ROLE, HEL, b'data: {"choices": [{bad\n\n', LO, STOP, DONE)
    async with scripted(kind, act) as (gateway, _):
        reply = await gateway.ask(stream=True)
        assert ("[DONE]" in reply.text) != ('"error"' in reply.text)
        assert (await gateway.row()).state == "settled"


async def test_answer_to_a_stream_that_is_no_stream_is_bad(kind):
    async with scripted(kind, ANSWERS) as (gateway, _):
        reply = await gateway.ask(stream=True)
        assert (reply.status_code, reply.json()["error"]["code"]) == (502, "bad_upstream")
