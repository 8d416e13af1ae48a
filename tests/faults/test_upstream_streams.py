"""Streams written in every way there is, and what an SDK makes of them behind the gateway."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.faults.behaviours import END, SSE, chunk, dripping, saying
from tests.faults.contract import assert_refused
from tests.faults.fleets import Booked, fleet, hits, learnt, served, states
from tests.house import chat
from tests.line import DONE, HEL, LO, ROLE, STOP, event

ODD = event({"content": "ü€😀\u2028 a\r\nb\n\ndata: [DONE]\n\n"}, tokens=2)
EVENTS = [ROLE, event({"content": "Hel"}, tokens=1), ODD, STOP, DONE]
WHOLE = b"".join(EVENTS)
TEXT = "Helü€😀\u2028 a\r\nb\n\ndata: [DONE]\n\n"


def lines(end: bytes) -> bytes:
    return WHOLE.replace(b"\n", end)


def split(raw: bytes, size: int):
    return saying(SSE, *(chunk(raw[at : at + size]) for at in range(0, len(raw), size)), END)


WRITTEN = {
    "u39 LF": saying(SSE, *map(chunk, EVENTS), END),
    "u39 CRLF": saying(SSE, chunk(lines(b"\r\n")), END),
    "u39 lone CR": saying(SSE, chunk(lines(b"\r")), END),
    "u39 a mark of the byte order": saying(SSE, chunk(b"\xef\xbb\xbf" + WHOLE), END),
    "u39 one byte in each chunk": split(WHOLE, 1),
    "u39 one byte in each write": dripping(SSE + chunk(WHOLE) + END),
    "u39 CRLF in chunks of two": split(lines(b"\r\n"), 2),
    "u39 split within characters": split(WHOLE, 7),
    "u39 all at once": saying(SSE + chunk(WHOLE) + END),
    "u39 data over several lines": saying(
        SSE, chunk(WHOLE.replace(b',"choices"', b',\ndata: "choices"')), END
    ),
    "u39 comments and fields nobody knows": saying(
        SSE, chunk(b": keep-alive\n\n"), *(chunk(b"id: 7\n" + each) for each in EVENTS), END
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
async def test_stream_says_the_same_however_it_is_written(case):
    async with fleet(WRITTEN[case]) as (gateway, (server,)):
        texts = []
        async for each in await gateway.sdk.chat.completions.create(**chat("hello"), stream=True):
            texts += [choice.delta.content or "" for choice in each.choices]
            assert each.model == "tiny"
        assert "".join(texts) == TEXT
        assert hits(server) == 1
        row = await Booked("settled", "gpu-a", 1, source="upstream", finish="stop").check(gateway)
        assert (row.prompt_tokens, row.completion_tokens) == (5, 3)
        assert learnt(gateway) == {("gpu-a", "success", "none"): 1}


GARBLED = b'data: {"choices": [{bad\n\n'


async def test_u38_event_that_cannot_be_read_is_an_error_and_what_came_before_is_booked():
    heard = asyncio.Event()

    async def garbles(peer):
        await peer.send(SSE, chunk(ROLE), chunk(HEL))
        await heard.wait()
        await peer.send(chunk(GARBLED), chunk(LO), chunk(STOP), chunk(DONE), END)

    async with fleet(garbles, healthy=1) as (gateway, (server,)):
        with pytest.raises(openai.APIError) as caught:
            async for each in await gateway.sdk.chat.completions.create(**chat(), stream=True):
                if each.choices[0].delta.content:
                    heard.set()
        assert caught.value.code == "upstream_error"
        row = await Booked("settled", "gpu-a", 1, 502, "upstream_error", "upstream", "cut").check(gateway)
        assert (row.prompt_tokens, row.completion_tokens) == (5, 1)
        assert (hits(server), served(gateway)) == (1, 0)
        assert learnt(gateway) == {("gpu-a", "failure", "garbled"): 1}
        reply = await gateway.ask(stream=True)
        assert reply.text.endswith("data: [DONE]\n\n")


async def test_u38_first_event_that_cannot_be_read_is_tried_elsewhere():
    garbled = saying(SSE, chunk(GARBLED), END)
    async with fleet(garbled, healthy=1) as (gateway, _):
        assert (await gateway.ask("short", stream=True)).text.endswith("data: [DONE]\n\n")
        assert learnt(gateway) == {("gpu-a", "failure", "bad"): 1, ("gpu-b", "success", "none"): 1}
    async with fleet(garbled, garbled) as (gateway, _):
        assert_refused(await gateway.ask(stream=True), "bad_upstream")


async def test_u38_line_that_nobody_knows_is_passed_over():
    odd = saying(SSE, *map(chunk, (ROLE, HEL, b"dat: {\n\n", LO, STOP, DONE)), END)
    async with fleet(odd) as (gateway, _):
        assert (await gateway.ask(stream=True)).text.endswith("data: [DONE]\n\n")
        assert (await gateway.row()).completion_tokens == 3
        assert states(gateway) == ["closed"]


async def test_u43_ids_of_another_s_answer_change_nothing_but_what_is_shown():
    """What a row says comes from the call, not from the answer."""
    forged = event({"content": "x"}, tokens=1).replace(b"chatcmpl-1", b"chatcmpl-of-another-tenant")
    async with fleet(saying(SSE, *map(chunk, (forged, STOP, DONE)), END)) as (gateway, _):
        reply = await gateway.ask(stream=True)
        assert '"model":"tiny"' in reply.text
        assert "m-served" not in reply.text
        row = await gateway.row()
        assert row.call_id == reply.headers["x-request-id"]
        assert (row.tenant_id, row.model) == (gateway.tenant_id, "tiny")
