"""Whole chunks past the parser: nothing is lost, nothing overtakes, and nothing malformed gets by."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.failures import BadUpstream, EndpointError
from app.upstream.transport.direct.incoming import Incoming
from app.upstream.transport.options import TransportOptions

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Carrier:
    def __init__(self):
        self.told = []

    def pause(self): ...

    def resume(self): ...

    def finish(self, *, reusable):
        self.told.append("reuse" if reusable else "drop")

    def abort(self):
        self.told.append("abort")


class Stream:
    """What of a body was taken, and what was left to be read; `takes` is asked for every piece."""

    def __init__(self, takes=lambda piece: True):
        self.carrier = Carrier()
        self.incoming = Incoming(self.carrier, TransportOptions(max_head=1_000))
        self.incoming.feed(SSE)
        self.pieces = []
        self._takes = takes
        self.incoming.divert(self._take)

    def _take(self, piece):
        assert piece
        if not self._takes(piece):
            return False
        self.pieces.append(piece)
        return True

    async def read(self):
        """What waits, without waiting for more."""
        if self.incoming._chunks:
            self.pieces.append(await self.incoming.read())

    async def end(self):
        await self.read()
        try:
            return await self.incoming.read()
        except EndpointError as error:
            return type(error), error.reason


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def written(data: bytes, how: str) -> bytes:
    """A chunk in one of the ways in which it may be written."""
    size = b"%x" % len(data)
    line = {"plain": size, "upper": size.upper(), "zeros": b"00" + size, "extended": size + b";a=b"}[how]
    return line + b"\r\n" + data + b"\r\n"


pieces = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=20)
        | st.sampled_from([b"\r\n", b"5\r\n", b"1\r\na\r\n", END, b"x" * 300]),
        st.sampled_from(["plain", "plain", "plain", "upper", "zeros", "extended"]),
    ),
    max_size=12,
)


@given(pieces, st.data())
async def test_any_split_of_the_bytes_gives_the_same_body(parts, data):
    raw = b"".join(written(*part) for part in parts)
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(written(*part)))
    cuts = data.draw(st.sets(st.sampled_from(ends)) | st.sets(st.integers(0, len(raw))))
    refused = data.draw(st.sets(st.integers(0, 12)))
    asked = iter(range(10_000))
    stream = Stream(lambda piece: next(asked) not in refused)
    for start, end in pairwise(sorted({0, len(raw), *cuts})):
        stream.incoming.feed(raw[start:end])
        if data.draw(st.booleans()):
            await stream.read()
    stream.incoming.feed(END)
    assert await stream.end() == b""
    assert b"".join(stream.pieces) == b"".join(piece for piece, _ in parts)
    assert stream.carrier.told == ["reuse"]


BAD = [
    b"+5\r\nabcde\r\n",
    b"-5\r\nabcde\r\n",
    b"0x5\r\nabcde\r\n",
    b"0_5\r\nabcde\r\n",
    b" 5\r\nabcde\r\n",
    b"5 \r\nabcde\r\n",
    b"5\nabcde\r\n",
    b"5\rabcde\r\n",
    b"5\r\nabcde\n",
    b"5\r\nabcdefg",
    b"5\r\nabcdef\r\n",
    b"5\r\nabcd\r\n",
    b"\r\n5\r\nabcde\r\n",
    b"\r\n\r\n",
    b"g\r\nabcde\r\n",
    b"ffffffffffffffffff\r\nabcde\r\n",
    b"5" + b"0" * 2_000,
    b"5;" + b"a" * 2_000,
    b"0\r\nabcde\r\n",
    b"0\r\na: b\r\n c: d\r\n\r\n",
    b"0\r\n\r\n5\r\nabcde\r\n",
    chunk(b"abcde") + b"x\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("before", [0, 1, 3])
async def test_what_is_malformed_ends_as_without_a_way_past_the_parser(bad, before):
    ends = []
    for takes in (False, True):
        stream = Stream(lambda piece, takes=takes: takes)
        for each in [*[chunk(b"before")] * before, bad, chunk(b"after")]:
            stream.incoming.feed(each)
        ends.append((await stream.end(), b"".join(stream.pieces), stream.carrier.told))
    assert ends[0] == ends[1]
    if stream.carrier.told == ["abort"]:
        assert ends[0][0][0] is BadUpstream


async def test_the_parser_sees_one_whole_chunk_and_then_no_more_of_them():
    stream = Stream()
    stream.incoming.feed(chunk(b"one"))
    assert stream.incoming._straight is not None
    for word in (b"two", b"three"):
        stream.incoming.feed(chunk(word))
    assert stream.pieces == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "part", [b"5", b"5\r\n", b"5;a", chunk(b"a")[:-1], chunk(b"a") * 2, b"0\r\na: b\r\n"]
)
async def test_whatever_is_no_whole_chunk_is_the_parsers(part):
    stream = Stream()
    stream.incoming.feed(chunk(b"one"))
    stream.incoming.feed(part)
    assert stream.incoming._straight is None
    assert stream.carrier.told == []


async def test_no_chunk_overtakes_what_waits_to_be_read():
    stream = Stream(lambda piece: piece != b"two")
    for word in (b"one", b"two", b"three"):
        stream.incoming.feed(chunk(word))
    assert stream.pieces == [b"one"]
    assert await stream.incoming.read() == b"twothree"
    stream.incoming.feed(chunk(b"four"))
    assert stream.pieces == [b"one", b"four"]


async def test_an_end_of_the_body_is_never_taken():
    stream = Stream()
    stream.incoming.feed(chunk(b"one"))
    stream.incoming.feed(END)
    assert await stream.end() == b""
    assert stream.carrier.told == ["reuse"]
