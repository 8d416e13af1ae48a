"""One request of a connection as its application sees it: a body to receive, an answer to send.

Answers are framed by length or in chunks in HTTP/1.1, by closing the connection in HTTP/1.0.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.core.errors import GatewayError
from app.server.refusal import refusal_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.server.flow import Flow
    from app.server.refusal import Application

BODILESS = (204, 304)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger(__name__)


class Answer(Struct, eq=False):
    """Runs the application once. The protocol writes to it what arrives, and reads off it what is due.

    The head waits for the body's first bytes: both leave in one write.
    """

    scope: Any
    _transport: asyncio.Transport
    _flow: Flow
    _default_headers: list[tuple[bytes, bytes]]
    _on_response: Callable[[], None]
    keep_alive: bool
    expects_continue: bool = False
    disconnected: bool = False
    more_body: bool = True
    _received: bytes = b""
    _news: bool = False
    _waiter: asyncio.Future[None] | None = None
    _head: bytes = b""
    _expected: int = 0
    chunked: bool | None = None
    response_started: bool = False
    response_complete: bool = False

    async def run(self, app: Application) -> None:
        """Nothing the application does leaves its caller without an end."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            logger.error("the application failed", exc_info=error)
            self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                logger.error("the application left an answer unfinished")
                self._give_up()
        finally:
            # It leads back here by its extensions: without this every request waits for the collector.
            self.scope = None

    def arrived(self, data: bytes) -> int:
        """A piece of the body; the bytes nobody has received yet."""
        self._received = self._received + data if self._received else data
        self.wake()
        return len(self._received)

    def wake(self) -> None:
        """Something changed that the application may wait for."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> dict[str, Any]:
        if self.expects_continue and not self._transport.is_closing():
            self.expects_continue = False
            self._transport.write(CONTINUE)
        if not self._news and not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self._received = self._received, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def body(self) -> bytes | None:
        """All of the request's body, if it is here and has not been received yet; else None."""
        if self.more_body or not self._news or self.expects_continue or self.disconnected:
            return None
        self._news = False
        body, self._received = self._received, b""
        return body

    async def send(self, message: Any) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("an answer has one head")
            self._begin(message["status"], message.get("headers", ()))
        elif not self.response_started or self.response_complete:
            raise RuntimeError("a body comes after its head and before its end")
        else:
            self._continue(message.get("body", b""), last=not message.get("more_body", False))

    def ready(self) -> bool:
        """Whether a piece of the body may be written without waiting."""
        return self.response_started and not self._flow.write_paused and not self.disconnected

    def write(self, piece: bytes) -> None:
        """A piece of the body, not its end, at a moment when it is `ready` for that."""
        if self.chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            self._continue(piece, last=False)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        pairs = [*self._default_headers, *headers]
        named = dict(pairs)
        if b"connection" in named:
            closing = [pair for pair in pairs if pair[0] == b"connection" and b"close" in pair[1].lower()]
            self.keep_alive = self.keep_alive and not closing
            pairs = [pair for pair in pairs if pair not in closing]
        length = named.get(b"content-length")
        if length is not None:
            self._expected = int(length)
            self.chunked = False
        if not self.keep_alive:
            pairs.append((b"connection", b"close"))
        if self.chunked is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked = True
            pairs.append((b"transfer-encoding", b"chunked"))
        head = STATUS_LINE[status] + b"\r\n".join([*map(b": ".join, pairs), b"", b""])
        lines = len(pairs) + 2
        if head.count(b"\n") != lines or head.count(b"\r") != lines:
            raise RuntimeError("a line break inside of a header")
        self.response_started = True
        self.expects_continue = False
        self._head = head

    def _continue(self, body: bytes, *, last: bool) -> None:
        if self.chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if last:
                body += b"0\r\n\r\n"
        elif self.scope["method"] == "HEAD":
            body = b""
        else:
            self._expected -= len(body)
            if self._expected < 0:
                raise RuntimeError("a body longer than its content-length")
            if last and self._expected:
                raise RuntimeError("a body shorter than its content-length")
        if self._head or body:
            self._transport.write(self._head + body)
            self._head = b""
        if last:
            self._end()

    def drop(self) -> None:
        """Nothing more is sent, not even what waits to be."""
        self.disconnected = True
        self._transport.abort()

    def __repr__(self) -> str:
        return f"<Answer started={self.response_started} complete={self.response_complete}>"

    def _end(self) -> None:
        self.response_complete = True
        self.wake()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()

    def _give_up(self) -> None:
        """A whole answer if none has begun, else a connection that ends where it must not."""
        if self.response_complete or self.disconnected:
            return
        if not self.response_started or self._head:
            self._transport.write(refusal_bytes(GatewayError(), self.scope["headers"], self._default_headers))
        self.keep_alive = False
        self._transport.close()


class CloseDelimited(Answer):
    """An answer to HTTP/1.0, which knows no chunks: it ends where the connection ends."""

    chunked: bool | None = False

    def _continue(self, body: bytes, *, last: bool) -> None:
        self._expected = len(body)
        super()._continue(body, last=last)
