from __future__ import annotations

import asyncio

import pytest

from app.core.failures import BadUpstream, ClosedEarly, StreamBroken
from app.upstream.transport.direct.incoming import Incoming
from app.upstream.transport.options import TransportOptions
from tests.clock import settle

OPTIONS = TransportOptions(max_head=200, max_informational=2, max_body=50, max_buffer=20)
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Carrier:
    def __init__(self):
        self.told = []

    def pause(self):
        self.told.append("pause")

    def resume(self):
        self.told.append("resume")

    def finish(self, *, reusable):
        self.told.append("reuse" if reusable else "drop")

    def abort(self):
        self.told.append("abort")


@pytest.fixture
def carrier():
    return Carrier()


@pytest.fixture
def incoming(carrier):
    return Incoming(carrier, OPTIONS)


def answer(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (extra, len(body), body)


async def test_whole_answer_gives_head_body_end_and_the_connection_back(incoming, carrier):
    incoming.feed(answer(b"{}", b"X-A: 1\r\n"))
    reply = await incoming.head()
    assert (reply.status, reply.headers["x-a"]) == (200, "1")
    assert [await reply.body.read(), await reply.body.read(), await reply.body.read()] == [b"{}", b"", b""]
    assert carrier.told == ["reuse"]


async def test_body_has_ended_when_its_last_piece_was_read(incoming):
    incoming.feed(SSE)
    assert not incoming.ended
    incoming.feed(b"1\r\na\r\n0\r\n\r\n")
    assert not incoming.ended
    await incoming.read()
    assert incoming.ended


async def test_body_that_broke_off_has_not_ended(incoming):
    incoming.feed(SSE + b"1\r\na\r\n")
    incoming.lost(clean=True)
    await incoming.read()
    assert not incoming.ended


async def test_many_small_heads_before_the_answer_count_together(incoming, carrier):
    incoming.feed(b"HTTP/1.1 103 Hints\r\nlink: %s\r\n\r\n" % (b"a" * 150) * 2 + answer(b"{}"))
    with pytest.raises(BadUpstream, match="too large"):
        await incoming.head()
    assert carrier.told == ["abort"]


async def test_reader_is_woken_once_for_all_that_came_together(incoming):
    incoming.feed(SSE)
    reading = asyncio.create_task(incoming.read())
    await settle()
    incoming.feed(b"3\r\nabc\r\n3\r\ndef\r\n")
    incoming.feed(b"1\r\ng\r\n")
    assert await reading == b"abcdefg"


@pytest.mark.parametrize("extra", [b"x", answer(b"POISON"), b"HTTP/1.1 2"])
async def test_surplus_costs_the_connection_but_not_the_answer(incoming, carrier, extra):
    incoming.feed(answer(b"{}") + extra)
    reply = await incoming.head()
    assert await reply.body.read() == b"{}"
    assert await reply.body.read() == b""
    assert reply.headers == {"content-length": "2"}
    assert carrier.told == ["drop"]


async def test_reading_stops_above_the_buffer_and_goes_on_after_a_read(incoming, carrier):
    incoming.feed(SSE + b"14\r\n" + bytes(20) + b"\r\n")
    assert carrier.told == []
    incoming.feed(b"1\r\nx\r\n")
    assert carrier.told == ["pause"]
    assert len(await incoming.read()) == 21
    assert carrier.told == ["pause", "resume"]


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc",
        b"SSH-2.0",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
    ],
)
async def test_bad_head_is_refused_and_the_connection_dropped(incoming, carrier, raw):
    incoming.feed(raw)
    with pytest.raises(BadUpstream):
        await incoming.head()
    assert carrier.told == ["abort"]


async def test_informational_answers_within_the_limit_leave_no_trace(incoming):
    incoming.feed(b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" * 2 + answer(b"{}"))
    assert (await incoming.head()).headers == {"content-length": "2"}


@pytest.mark.parametrize(
    "raw",
    [b"ZZ\r\n", b"0\r\n" + b"a" * 201, b"5;a=" + b"a" * 200, b"0\r\n" + b"a: b\r\n" * 40],
    ids=["chunk", "trailer", "extension", "trailers"],
)
async def test_bad_framing_in_the_body_is_refused(incoming, carrier, raw):
    incoming.feed(SSE)
    incoming.feed(raw)
    with pytest.raises(BadUpstream):
        await incoming.read()
    assert carrier.told == ["abort"]


async def test_framing_between_pieces_of_body_never_adds_up_to_an_overhead(incoming):
    incoming.feed(SSE)
    for _ in range(100):
        for part in (b"1\r\n", b"x", b"\r\n"):
            incoming.feed(part)
    assert await incoming.read() == b"x" * 100


async def test_body_over_the_limit_is_refused_after_what_fits(incoming):
    incoming.feed(SSE.replace(b"text/event-stream", b"application/json"))
    incoming.feed(b"32\r\n" + bytes(50) + b"\r\n")
    incoming.feed(b"1\r\nx\r\n")
    assert await incoming.read() == bytes(50)
    with pytest.raises(BadUpstream):
        await incoming.read()


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 2"])
async def test_end_before_the_head_is_closed_early(incoming, raw):
    if raw:
        incoming.feed(raw)
    incoming.lost(clean=True)
    with pytest.raises(ClosedEarly):
        await incoming.head()


@pytest.mark.parametrize(("clean", "reason"), [(True, "cut"), (False, "reset")])
async def test_end_inside_a_framed_body_comes_after_its_bytes_and_is_broken(incoming, clean, reason):
    incoming.feed(SSE + b"3\r\nabc\r\n")
    incoming.lost(clean=clean)
    assert await incoming.read() == b"abc"
    for _ in range(2):
        with pytest.raises(StreamBroken) as broken:
            await incoming.read()
        assert broken.value.reason == reason


async def test_unframed_body_ends_with_a_clean_end_only(carrier):
    for clean in (True, False):
        incoming = Incoming(carrier, OPTIONS)
        incoming.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
        incoming.lost(clean=clean)
        assert not incoming.framed
        assert await incoming.read() == b"abc"
        if clean:
            assert await incoming.read() == b""
        else:
            with pytest.raises(StreamBroken):
                await incoming.read()


async def test_cancelled_reader_drops_the_connection(incoming, carrier):
    incoming.feed(SSE)
    reading = asyncio.create_task(incoming.read())
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert carrier.told == ["abort"]


async def test_close_drops_once_and_late_news_change_nothing(incoming, carrier):
    incoming.feed(SSE)
    incoming.close()
    incoming.close()
    incoming.feed(b"1\r\nx\r\n")
    incoming.lost(clean=True)
    with pytest.raises(StreamBroken) as broken:
        await incoming.read()
    assert broken.value.reason == "closed"
    assert carrier.told == ["abort"]
