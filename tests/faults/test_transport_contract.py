"""What both transports promise about an endpoint's connection, head and framing, case by case."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from app.core.failures import BadUpstream, ClosedEarly, ConnectFailed, ConnectTimeout, StreamBroken
from tests.faults import behaviours as up
from tests.faults.behaviours import ANSWER, END, EVENT, JSON, OK, SSE, chunk, saying, whole
from tests.house import BlackHole


async def test_u01_refused_connection_is_a_connect_failure(rig):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        rig.aim(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ConnectFailed):
            await rig.send()


async def test_u02_black_hole_is_a_connect_timeout_and_no_longer(rig):
    with closing(BlackHole()) as hole:
        rig.aim(hole.url)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ConnectTimeout):
            await rig.send(connect=0.1)
        assert asyncio.get_running_loop().time() - started < 2.0


@pytest.mark.parametrize(
    "said",
    [(), (b"HTTP/1.1 200 OK\r\nContent-Type:",), (b"HTTP/1.1 100 Continue\r\n\r\n",)],
    ids=["u03_silent", "u04_half_a_head", "informational_only"],
)
async def test_u03_waiting_for_the_head_ends_with_cancellation_and_the_endpoint_sees_it(rig, said):
    server = await rig.serve(up.saying_then_silence(*said))
    call = asyncio.create_task(rig.send())
    await rig.until(lambda: server.log.requests)
    await asyncio.sleep(0.02)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await rig.until(lambda: server.log.ends)


async def test_u05_head_comes_at_once_even_if_no_event_follows(rig):
    server = await rig.serve(up.saying_then_silence(SSE))
    reply = await rig.send()
    assert reply.status == 200
    reading = asyncio.create_task(reply.body.read())
    await asyncio.sleep(0.02)
    assert not reading.done()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await rig.until(lambda: server.log.ends)


async def test_u06_events_before_a_silence_arrive_and_closing_drops_the_connection(rig):
    server = await rig.serve(up.saying_then_silence(SSE, chunk(EVENT), chunk(EVENT)))
    reply = await rig.send()
    assert await rig.read_at_least(reply.body, 2 * len(EVENT)) == 2 * EVENT
    reply.body.close()
    reply.body.close()
    await rig.until(lambda: server.log.ends)


async def test_u07_drip_arrives_byte_for_byte(rig):
    await rig.serve(up.dripping(SSE + chunk(EVENT) + END))
    reply = await rig.send()
    assert await rig.whole(reply.body) == EVENT


async def test_u08_slow_stream_meets_no_timeout_of_the_transport(rig):
    go_on = asyncio.Event()

    async def slow(peer):
        await peer.send(SSE, chunk(EVENT))
        await go_on.wait()
        await peer.send(chunk(EVENT), END)

    await rig.serve(slow)
    reply = await rig.send()
    first = await rig.read_at_least(reply.body, len(EVENT))
    rig.clock.advance(3_600)
    go_on.set()
    assert first + await rig.whole(reply.body) == 2 * EVENT


async def broken(rig, behaviour):
    """The body's bytes and the error that ended it."""
    await rig.serve(behaviour)
    reply = await rig.send()
    got = b""
    try:
        while arrived := await rig.read(reply.body):
            got += arrived
    except (StreamBroken, BadUpstream) as error:
        with pytest.raises(type(error)):
            await reply.body.read()
        return got, error
    pytest.fail(f"the body ended well after {got!r}")


async def test_u09_rst_mid_stream_is_broken_not_complete(rig):
    got, error = await broken(rig, up.saying_then_rst(SSE, chunk(EVENT)))
    assert got == EVENT
    assert isinstance(error, StreamBroken)
    assert error.reason == "reset"


@pytest.mark.parametrize(
    ("said", "arrived"),
    [
        ((SSE, chunk(EVENT)), EVENT),
        ((SSE, chunk(EVENT), b"A\r\nhel"), EVENT + b"hel"),
        ((SSE, chunk(EVENT), b"0\r\n"), EVENT),
        ((SSE,), b""),
        ((JSON + b"content-length: 100\r\n\r\nhello",), b"hello"),
    ],
    ids=[
        "u10_no_last_chunk",
        "u11_inside_a_chunk",
        "inside_the_last_chunk",
        "no_chunk",
        "u14_length_too_long",
    ],
)
async def test_u10_fin_before_the_announced_end_is_broken_not_complete(rig, said, arrived):
    got, error = await broken(rig, up.saying_then_fin(*said))
    assert got == arrived
    assert isinstance(error, StreamBroken)
    assert error.reason == "cut"


async def test_u12_body_ended_by_the_connection_is_complete_but_unframed(rig):
    await rig.serve(up.saying_then_fin(OK + b"content-type: text/event-stream\r\n\r\n" + EVENT))
    reply = await rig.send()
    assert await rig.whole(reply.body) == EVENT
    assert reply.body.framed is False


async def test_u12_framed_bodies_say_so(rig):
    await rig.serve({"/chunked": up.streams, "/length": up.answers})
    for path in ("/chunked", "/length"):
        reply = await rig.send(path)
        assert reply.body.framed is True
        assert await rig.whole(reply.body)


async def test_u12_rst_of_an_unframed_body_is_broken(rig):
    got, error = await broken(rig, up.saying_then_rst(OK + b"\r\nhel"))
    assert got == b"hel"
    assert error.reason == "reset"


@pytest.mark.parametrize("said", [b"ZZ\r\n", chunk(EVENT) + b"ZZ\r\n", b"3\r\nhelloo\r\n"])
async def test_u13_bad_chunk_framing_is_a_bad_upstream(rig, said):
    _, error = await broken(rig, up.saying_then_silence(SSE, said))
    assert isinstance(error, BadUpstream)


async def test_u15_poison_behind_a_short_body_never_reaches_the_next_call(rig):
    poison = whole(b"POISON")
    server = await rig.serve(up.in_turn(saying(JSON + b"content-length: 2\r\n\r\n{}" + poison), up.answers))
    assert await rig.exchange() == b"{}"
    assert await rig.exchange() == ANSWER
    assert server.accepted == 2


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        b"content-length: 2\r\ncontent-length: 3\r\n",
        b"content-length: -2\r\n",
        b"content-length: 2e1\r\n",
        b"transfer-encoding: gzip\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
    ],
)
async def test_u16_ambiguous_framing_is_a_bad_upstream(rig, framing):
    server = await rig.serve(up.saying_then_silence(JSON + framing + b"\r\n2\r\n{}\r\n0\r\n\r\n"))
    with pytest.raises(BadUpstream):
        await rig.send()
    await rig.until(lambda: server.log.ends)


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.9\r\n", b"RTSP/1.0 200 OK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"]
)
async def test_u17_whoever_does_not_speak_http_is_a_bad_upstream_at_once(rig, said):
    await rig.serve(up.saying_then_silence(said + b"\r\n"))
    with pytest.raises(BadUpstream):
        await rig.send()


@pytest.mark.parametrize(
    "behaviour", [up.closes_at_once, up.resets_at_once, up.saying_then_fin(b"HTTP/1.1 200 OK\r\nX:")]
)
async def test_u18_fresh_connection_closed_before_the_head_is_closed_early(rig, behaviour):
    server = await rig.serve(behaviour)
    with pytest.raises(ClosedEarly):
        await rig.send()
    assert len(server.log.requests) == 1
