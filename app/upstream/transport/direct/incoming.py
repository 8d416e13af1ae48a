"""One reply as it arrives: a head to wait for, a body to read, and exactly one end.

A parser of its own for each reply: nothing of one answer can reach into the next.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from app.core.failures import BadUpstream, ClosedEarly, EndpointError, StreamBroken
from app.core.reply import Reply
from app.upstream.transport.head import headers_of, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.upstream.transport.options import TransportOptions

_FIRST_BYTE = ord("H")
_PUNCTUATION = 2
"""Bytes behind a header's name, and behind its value."""


class Carrier(Protocol):
    """The connection below: told to stop and go on reading, and when the reply no longer needs it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def finish(self, *, reusable: bool) -> None: ...

    def abort(self) -> None: ...


class Incoming:
    """Fed by its connection, read by one reader; implements app.core.reply.Body.

    `framed` is False for a body that only the connection's end delimits. `_room` counts the bytes that
    may still come, of the head, then of the body; `_overhead` those since the last byte of the body.

    `_straight` is the way for reads that are one chunk as most endpoints write it. It is open while the parser
    stands between two chunks and nothing waits to be read: it then need not see a chunk that is whole.
    """

    __slots__ = (
        "_buffered", "_carrier", "_chunks", "_complete", "_error", "_fields", "_headers", "_informational", "_loop",
        "_options", "_overhead", "_parser", "_persistent", "_room", "_status", "_straight", "_surplus", "_take",
        "_waiter", "framed",
    )  # fmt: skip

    def __init__(
        self, carrier: Carrier, options: TransportOptions, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """`loop`: the running one, known to who asks often; finding it is a system call in Python 3.11."""
        self.framed = True
        self._loop = loop
        self._options = options
        self._carrier: Carrier | None = carrier
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._status = 0
        self._fields: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._informational = 0
        self._overhead = 0
        self._room = options.max_head
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._persistent = self._complete = self._surplus = False
        self._error: EndpointError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._straight: Callable[[bytes], bool] | None = None

    async def head(self) -> Reply:
        """Waits for the final head. Raises ClosedEarly or BadUpstream."""
        if not self._status and self._carrier is not None:
            try:
                await self._news()
            except BaseException:
                self.close()
                raise
        if not self._status:
            raise self._error or ClosedEarly
        headers, self._headers = self._headers, {}
        return Reply(self._status, headers, self)

    async def read(self) -> bytes:
        """Raises StreamBroken for a body cut short, BadUpstream for one that breaks its own framing."""
        if not self._chunks and self._carrier is not None:
            try:
                await self._news()
            except BaseException:
                self.close()
                raise
        chunks = self._chunks
        if chunks:
            arrived = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            if self._buffered > self._options.max_buffer and self._carrier is not None:
                self._carrier.resume()
            self._buffered = 0
            return arrived
        if self._error is not None:
            raise self._error
        return b""

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """Of a body that may have any length: what goes straight is not counted."""
        self._take = take

    def close(self) -> None:
        self._chunks.clear()
        if self._carrier is not None:
            self._fail(StreamBroken(reason="closed"))

    @property
    def ended(self) -> bool:
        return self._carrier is None and not self._chunks and self._error is None

    def feed(self, arrived: bytes) -> None:
        """Bytes from the socket, never none."""
        straight = self._straight
        if straight is not None:
            piece = arrived[arrived.find(b"\r\n") + 2 : -2]
            if piece and arrived == b"%x\r\n%b\r\n" % (len(piece), piece) and straight(piece):
                return
            self._straight = None
        parser, carrier = self._parser, self._carrier
        if parser is None or carrier is None:
            return
        known = self._status
        if not known and not self._overhead and arrived[0] != _FIRST_BYTE:
            self._fail(BadUpstream("The endpoint does not speak HTTP."))
            return
        self._overhead += len(arrived)
        try:
            parser.feed_data(arrived)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._complete:
                ours = error.__context__
                self._fail(ours if isinstance(ours, BadUpstream) else BadUpstream())
                return
        if self._complete:
            self._end(None)
            carrier.finish(reusable=self._persistent and not self._surplus)
            return
        if self._overhead > self._options.max_head:
            self._fail(BadUpstream("The endpoint's head is too large."))
        elif self._buffered > self._options.max_buffer:
            carrier.pause()
        elif self._take is not None and len(self._chunks) == 1 and self._take(self._chunks[0]):
            piece = self._chunks.pop()
            self._buffered = 0
            if arrived == b"%x\r\n%b\r\n" % (len(piece), piece):
                self._straight = self._take
        if self._chunks or self._status != known:
            self._wake()

    def lost(self, *, clean: bool) -> None:
        """The connection is gone; `clean`: the endpoint closed it in order."""
        if self._carrier is None:
            return
        if not self._status:
            self._end(ClosedEarly())
        elif clean and not self.framed:
            self._end(None)
        else:
            self._end(StreamBroken(reason="cut" if clean else "reset"))

    def on_message_begin(self) -> None:
        self._surplus = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Those of a trailer, or of a second answer, are read by nobody."""
        self._fields += (name, value)

    def on_headers_complete(self) -> None:
        if self._status or self._parser is None:
            return
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        self._room -= sum(map(len, fields)) + _PUNCTUATION * len(fields)
        if self._room < 0:
            raise BadUpstream("The endpoint's head is too large.")
        if 100 <= status < 200 and status != 101:
            self._informational += 1
            if self._informational > self._options.max_informational:
                raise BadUpstream("The endpoint keeps its answer off.")
            return
        self._headers = headers_of(fields)
        self.framed, self._room = judge(status, self._headers, self._options)
        self._persistent = self._parser.should_keep_alive()
        self._overhead = 0
        self._status = status

    def on_body(self, chunk: bytes) -> None:
        if self._complete:
            return
        self._overhead = 0
        size = len(chunk)
        self._room -= size
        if self._room < 0:
            raise BadUpstream("The endpoint's answer is too large.")
        self._buffered += size
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        self._complete = self._status != 0

    def _news(self) -> asyncio.Future[None]:
        """Done when there is something to read, or nothing will come any more."""
        self._waiter = waiter = (self._loop or asyncio.get_running_loop()).create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: EndpointError) -> None:
        carrier = self._carrier
        if carrier is not None:
            self._end(error)
            carrier.abort()

    def _end(self, error: EndpointError | None) -> None:
        self._carrier = self._parser = self._take = self._straight = None
        self._error = error
        self._wake()
