"""Ordinary events go straight from the endpoint's socket to the caller's, everything else by the reader."""

from __future__ import annotations

import asyncio

import pytest

from app.core.failures import StreamBroken
from app.gateway.exchange import StreamExchange
from app.upstream.transport.direct.incoming import Incoming
from app.upstream.transport.options import TransportOptions
from app.wire.stream import StreamReader
from app.wire.surfaces import SURFACES
from tests.clock import FakeClock
from tests.fakes import make_call

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":"%b"},"logprobs":null,"finish_reason":%b}]}\n\n'
)
DONE = b"data: [DONE]\n\n"


def text(content, finish=b"null"):
    return EVENT % (content, finish)


class Caller:
    def __init__(self):
        self.open = True
        self.pieces = []

    def ready(self):
        return self.open

    def write(self, piece):
        self.pieces.append(piece)


class Endpoint:
    progressed_at = 0.0

    def learn(self, call, error): ...


class Carrier:
    def pause(self): ...

    def resume(self): ...

    def finish(self, *, reusable): ...

    def abort(self): ...


class End:
    def __init__(self, clock):
        self.call = make_call()
        self.deadline = self
        self.reached = False
        self.touched = []

    def watch(self, seconds, error): ...

    def touch(self, now):
        self.touched.append(now)

    def verdict(self):
        return None

    def succeed(self, *how):
        self.reached = True

    def fail(self, *how):
        self.reached = True

    abandon = fail


class Stream:
    """A stream whose role and first word have come, with a reader that waits for more."""

    def __init__(self):
        self.clock, self.caller = FakeClock(), Caller()
        self.incoming = Incoming(Carrier(), TransportOptions())
        self.incoming.feed(HEAD)
        self.reader = StreamReader(SURFACES["/v1/chat/completions"])
        first = self.reader.feed(text(b"a"))
        self.end = End(self.clock)
        self.exchange = StreamExchange(self.reader, self.incoming, first, Endpoint(), 60, self.clock)
        self.exchange.begin(self.end)

    async def __aenter__(self):
        assert await self.exchange.read() == text(b"a")
        self.exchange.relay(self.caller)
        await self.wait()
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        await asyncio.wait({self.reading})
        self.exchange.close()

    async def wait(self):
        self.reading = asyncio.create_task(self.exchange.read())
        await asyncio.sleep(0)

    def send(self, data):
        self.incoming.feed(b"%x\r\n%b\r\n" % (len(data), data))

    async def read(self):
        async with asyncio.timeout(5):
            return await self.reading


async def test_ordinary_events_wake_nobody_and_count_as_progress():
    async with Stream() as stream:
        for word in (b"b", b"c"):
            stream.clock.now += 1
            stream.send(text(word))
        await asyncio.sleep(0)
        assert not stream.reading.done()
        assert stream.caller.pieces == [text(b"b"), text(b"c")]
        assert stream.reader.usage.completion == 3
        assert stream.exchange._endpoint.progressed_at == stream.end.touched[-1] == stream.clock.now


@pytest.mark.parametrize(
    "data",
    [
        text(b"b") + text(b"c"),
        text(b"b", b'"stop"'),
        text(b"b").replace(b"\n\n", b"\r\n\r\n"),
        b": ping\n\n",
    ],
    ids=["two events", "a finish", "other line ends", "a comment"],
)
async def test_all_else_is_read(data):
    async with Stream() as stream:
        stream.send(data)
        assert await stream.read() == data.replace(b"\r", b"")
        assert stream.caller.pieces == []


async def test_part_of_an_event_is_read_and_what_follows_keeps_its_place():
    async with Stream() as stream:
        whole = text(b"b")
        stream.send(whole[:20])
        stream.send(whole[20:])
        stream.send(text(b"c"))
        assert await stream.read() == whole + text(b"c")
        await stream.wait()
        stream.send(text(b"d"))
        assert stream.caller.pieces == [text(b"d")]


async def test_nothing_overtakes_what_waits_for_the_caller():
    async with Stream() as stream:
        stream.caller.open = False
        stream.send(text(b"b"))
        stream.caller.open = True
        stream.send(text(b"c"))
        assert stream.caller.pieces == []
        assert await stream.read() == text(b"b") + text(b"c")
        stream.send(text(b"d"))  # nobody reads: the caller may not have been sent the others yet
        assert stream.caller.pieces == []
        await stream.wait()
        assert await stream.read() == text(b"d")


async def test_the_end_is_read_also_when_it_comes_with_the_last_event():
    async with Stream() as stream:
        stream.send(text(b"b"))
        data = text(b"", b'"stop"') + DONE
        stream.incoming.feed(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        assert await stream.read() == text(b"", b'"stop"')
        assert await stream.exchange.read() == DONE
        assert stream.end.reached
        assert stream.incoming._take is None


async def test_no_time_is_taken_for_an_end_that_has_come(monkeypatch):
    monkeypatch.setattr(asyncio, "timeout", None)
    stream = Stream()
    data = text(b"", b'"stop"') + DONE
    stream.incoming.feed(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
    assert [await stream.exchange.read() for _ in range(3)] == [text(b"a"), text(b"", b'"stop"'), DONE]
    assert stream.exchange.ended


async def test_a_broken_stream_breaks_as_before():
    async with Stream() as stream:
        stream.send(text(b"b"))
        stream.send(b"data: {\n\n")
        with pytest.raises(StreamBroken):
            await stream.read()
        assert stream.caller.pieces == [text(b"b")]


async def test_after_its_end_nothing_goes_straight():
    async with Stream() as stream:
        stream.exchange.close()
        stream.send(text(b"b"))
        assert stream.caller.pieces == []
