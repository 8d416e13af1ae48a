"""What both transports do with bodies: every byte, no byte too many, and no more of them than are read."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.core.failures import BadUpstream
from tests.faults import behaviours as up
from tests.faults.behaviours import ANSWER, END, EVENT, JSON, OK, SSE, chunk, saying, whole
from tests.faults.rig import OPTIONS

CORPUS = {
    "u38_invalid_lines": b"dat: {\n\ndata: {bad json\n\n: comment\n\nid: 7\n\n",
    "u39_crlf": b'data: {"a": 1}\r\n\r\ndata: [DONE]\r\n\r\n',
    "u39_lone_cr": b'data: {"a": 1}\r\rdata: [DONE]\r\r',
    "u39_lines": b"data: {\ndata: }\n\n",
    "u39_bom": b"\xef\xbb\xbfdata: {}\n\n",
    "u39_utf8": 'data: {"a": "日本語🎉"}\n\n'.encode(),
    "u41_after_done": b"data: [DONE]\n\ndata: {}\n\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("raw", CORPUS.values(), ids=CORPUS)
@pytest.mark.parametrize("split", ["whole", "bytes_in_chunks", "bytes_in_writes"])
async def test_u39_bytes_arrive_exactly(rig, raw, split):
    if split == "whole":
        await rig.serve(saying(SSE + chunk(raw) + END))
    elif split == "bytes_in_chunks":
        await rig.serve(saying(SSE + b"".join(chunk(raw[i : i + 1]) for i in range(len(raw))) + END))
    else:
        await rig.serve(up.dripping(SSE + chunk(raw) + END))
    reply = await rig.send()
    assert await rig.whole(reply.body) == raw


async def test_everything_that_has_arrived_comes_in_one_read(rig):
    await rig.serve(saying(SSE + chunk(EVENT) * 50 + END))
    reply = await rig.send()
    if rig.kind == "direct":
        assert await rig.read(reply.body) == EVENT * 50
    else:
        assert await rig.whole(reply.body) == EVENT * 50


async def test_end_is_the_end_however_often_one_asks(rig):
    await rig.serve(up.answers)
    reply = await rig.send()
    assert await rig.whole(reply.body) == ANSWER
    assert await rig.read(reply.body) == b""
    reply.body.close()


async def test_u40_giant_event_is_held_back_by_a_reader_that_does_not_read(rig):
    size = 50_000_000
    sent = 0

    async def giant(peer):
        nonlocal sent
        await peer.send(SSE, b"%x\r\n" % size)
        while sent < size:
            await peer.send(bytes(100_000))
            sent += 100_000
        await peer.send(b"\r\n", END)

    await rig.serve(giant)
    reply = await rig.send()
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < size / 2
    got = 0
    async for arrived in rig.pieces(reply.body):
        got += len(arrived)
        assert len(arrived) <= 2 * OPTIONS.max_buffer
    assert got == size


@pytest.mark.parametrize("surplus", [b"x", b"POISON", whole(b"POISON"), b"HTT", END])
async def test_u41_anything_behind_the_end_costs_the_connection(rig, surplus):
    server = await rig.serve(up.in_turn(saying(SSE + chunk(EVENT) + END + surplus), up.answers))
    assert await rig.exchange() == EVENT
    assert await rig.exchange() == ANSWER
    assert server.accepted == 2


async def test_bytes_on_an_idle_connection_cost_the_connection(rig):
    late = asyncio.Event()

    async def chatty(peer):
        await peer.send(whole(ANSWER))
        await late.wait()
        await peer.send(whole(b"POISON"))
        await peer.gone()

    server = await rig.serve(up.in_turn(chatty, up.answers))
    assert await rig.exchange() == ANSWER
    late.set()
    if rig.kind == "direct":
        await rig.until(lambda: server.log.ends)
    else:
        await asyncio.sleep(0.05)
    assert await rig.exchange() == ANSWER
    assert server.accepted == 2


async def test_announced_body_over_the_limit_is_a_bad_upstream(rig):
    await rig.serve(saying(whole(bytes(OPTIONS.max_body)), whole(bytes(OPTIONS.max_body + 1))))
    await rig.serve(
        {"/fits": saying(whole(bytes(OPTIONS.max_body))), "/over": saying(whole(bytes(OPTIONS.max_body + 1)))}
    )
    assert len(await rig.exchange("/fits")) == OPTIONS.max_body
    with pytest.raises(BadUpstream):
        await rig.send("/over")


@pytest.mark.parametrize("length", [b"9" * 30, b"9" * 5_000])
async def test_absurd_length_is_a_bad_upstream(rig, length):
    await rig.serve(saying(JSON + b"content-length: %s\r\n\r\n{}" % length))
    with pytest.raises(BadUpstream):
        await rig.send()


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked\r\n", b""], ids=["chunked", "unframed"])
async def test_unannounced_body_over_the_limit_is_a_bad_upstream(rig, framing):
    piece = chunk(bytes(65_536)) if framing else bytes(65_536)
    await rig.serve(up.flooding(JSON + framing + b"\r\n", piece))
    reply = await rig.send()
    with pytest.raises(BadUpstream):
        await rig.whole(reply.body)


async def test_event_stream_may_be_longer_than_the_limit(rig):
    pieces = OPTIONS.max_body // 65_536 + 10
    await rig.serve(saying(SSE, *[chunk(bytes(65_536))] * pieces, END))
    reply = await rig.send()
    assert len(await rig.whole(reply.body)) == pieces * 65_536


@pytest.mark.parametrize(
    "piece", [b"x-y: %s\r\n" % (b"z" * 1_000), b"a" * 65_536], ids=["trailers", "one_trailer"]
)
async def test_endless_trailer_is_a_bad_upstream(rig, piece):
    await rig.serve(up.flooding(SSE + chunk(EVENT) + b"0\r\n", piece))
    reply = await rig.send()
    with pytest.raises(BadUpstream):
        await rig.whole(reply.body)


async def test_endless_chunk_extension_is_a_bad_upstream(rig):
    await rig.serve(up.flooding(SSE + b"5;a=", b"a" * 65_536))
    reply = await rig.send()
    with pytest.raises(BadUpstream):
        await rig.whole(reply.body)


async def test_random_cuts_of_a_long_stream_lose_nothing(rig):
    dice = random.Random(7)
    events = [b"data: %d\n\n" % number for number in range(2_000)]
    raw = SSE + b"".join(map(chunk, events)) + END
    cuts = sorted(dice.sample(range(1, len(raw)), 300))
    await rig.serve(saying(*(raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True))))
    reply = await rig.send()
    assert await rig.whole(reply.body) == b"".join(events)


async def test_unframed_body_of_plain_bytes_is_read_to_its_end(rig):
    await rig.serve(up.saying_then_fin(OK + b"content-type: application/json\r\n\r\n" + ANSWER))
    assert await rig.exchange() == ANSWER
