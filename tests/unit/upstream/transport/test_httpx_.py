from __future__ import annotations

import asyncio

import httpx
import pytest
import respx

from app.core.endpoint import EndpointSpec
from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    StreamBroken,
)
from app.core.reply import Outbound
from app.upstream.transport.httpx_ import HttpxTransport
from app.upstream.transport.options import TransportOptions
from tests.clock import settle

ENDPOINT = EndpointSpec("a", "http://gpu-a:8000")
OUTBOUND = Outbound("POST", "/v1/chat/completions", (("x-request-id", "c"),), b"{}")


class Stream(httpx.AsyncByteStream):
    """Pieces, then an error if there is one; closing waits until `may_close`."""

    def __init__(self, *pieces, error=None):
        self.pieces = pieces
        self.error = error
        self.closed = self.left = False
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def __aiter__(self):
        try:
            for piece in self.pieces:
                yield piece
            if self.error is not None:
                raise self.error
        finally:
            self.left = True

    async def aclose(self):
        await self.may_close.wait()
        self.closed = True


class PlainIterator(Stream):
    """An iterator that is no generator."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        return b"x"


def answering(stream, **head):
    return HttpxTransport(
        TransportOptions(max_body=10),
        httpx.MockTransport(lambda request: httpx.Response(200, stream=stream, **head)),
    )


def failing(error):
    def fail(request):
        raise error

    return HttpxTransport(TransportOptions(), httpx.MockTransport(fail))


async def test_respx_router_stands_in_for_the_network():
    router = respx.Router()
    route = router.post("http://gpu-a:8000/v1/chat/completions").respond(json={"ok": True})
    transport = HttpxTransport(TransportOptions(), httpx.MockTransport(router.async_handler))
    reply = await transport.send(OUTBOUND, ENDPOINT, 1.0)
    assert reply.status == 200
    assert await reply.body.read() == b'{"ok":true}'
    assert await reply.body.read() == b""
    assert route.calls.last.request.headers["x-request-id"] == "c"
    await transport.aclose()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (httpx.ConnectError("x"), ConnectFailed),
        (OSError("no such file"), ConnectFailed),
        (httpx.ConnectTimeout("x"), ConnectTimeout),
        (httpx.PoolTimeout("x"), ConnectTimeout),
        (httpx.ReadTimeout("x"), FirstByteTimeout),
        (httpx.ReadError("x"), ClosedEarly),
        (httpx.WriteError("x"), ClosedEarly),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), ClosedEarly),
        (httpx.RemoteProtocolError("illegal status line"), BadUpstream),
    ],
)
async def test_errors_before_the_head_become_ours(theirs, ours):
    with pytest.raises(ours):
        await failing(theirs).send(OUTBOUND, ENDPOINT, 1.0)


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        (httpx.ReadTimeout("x"), IdleTimeout, "idle"),
        (httpx.ReadError("x"), StreamBroken, "reset"),
        (httpx.RemoteProtocolError("peer closed connection without sending"), StreamBroken, "cut"),
        (httpx.RemoteProtocolError("illegal chunk header"), BadUpstream, "bad"),
    ],
)
async def test_errors_in_the_body_come_after_its_bytes_and_stay(theirs, ours, reason):
    reply = await answering(Stream(b"a", error=theirs)).send(OUTBOUND, ENDPOINT, 1.0)
    assert await reply.body.read() == b"a"
    for _ in range(2):
        with pytest.raises(ours) as broken:
            await reply.body.read()
        assert broken.value.reason == reason


async def test_empty_pieces_are_not_the_end():
    stream = Stream(b"", b"a", b"")
    reply = await answering(stream).send(OUTBOUND, ENDPOINT, 1.0)
    assert [await reply.body.read(), await reply.body.read()] == [b"a", b""]
    assert stream.closed


async def test_body_over_the_limit_is_refused_and_closed():
    stream = Stream(b"123456", b"123456")
    transport = answering(stream)
    reply = await transport.send(OUTBOUND, ENDPOINT, 1.0)
    assert await reply.body.read() == b"123456"
    for _ in range(2):
        with pytest.raises(BadUpstream):
            await reply.body.read()
    await transport.aclose()
    assert stream.closed


async def test_refused_head_closes_the_answer():
    stream = Stream(b"x")
    transport = answering(stream, headers={"content-encoding": "gzip"})
    with pytest.raises(BadUpstream):
        await transport.send(OUTBOUND, ENDPOINT, 1.0)
    await transport.aclose()
    assert stream.closed


@pytest.mark.parametrize("kind", [Stream, PlainIterator])
async def test_closed_body_is_dropped_once_and_read_no_more(kind):
    stream = kind(b"x", b"y")
    transport = answering(stream)
    reply = await transport.send(OUTBOUND, ENDPOINT, 1.0)
    assert await reply.body.read() == b"x"
    reply.body.close()
    reply.body.close()
    await transport.aclose()
    assert stream.closed
    assert stream.left is (kind is Stream)
    with pytest.raises(StreamBroken):
        await reply.body.read()


async def test_reader_cancelled_at_the_very_end_does_not_cut_the_closing_short():
    stream = Stream()
    stream.may_close.clear()
    transport = answering(stream)
    reply = await transport.send(OUTBOUND, ENDPOINT, 1.0)
    reading = asyncio.create_task(reply.body.read())
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stream.may_close.set()
    await transport.aclose()
    assert stream.closed


async def test_transport_that_answers_synchronously_is_a_mistake():
    class Blocking(httpx.SyncByteStream):
        def __iter__(self):
            return iter([b"x"])

    with pytest.raises(TypeError):
        await answering(Blocking()).send(OUTBOUND, ENDPOINT, 1.0)
