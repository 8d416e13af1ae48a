"""One TCP connection: requests in, one at a time, answers out, closed when idle too long."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Protocol, cast

import httptools

from app.simulator.http.exchange import Exchange
from app.simulator.http.head import head
from app.simulator.http.request import Request

_REFUSAL = b"Invalid HTTP request received."
_NO_LINGER = struct.pack("ii", 1, 0)


class Host(Protocol):
    """The server a connection belongs to."""

    @property
    def keep_alive(self) -> float: ...
    def accepted(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def handle(self, exchange: Exchange) -> None: ...


class Connection(asyncio.Protocol):
    """Parses requests and runs them in order. A client's FIN, also a half-close, or RST ends its exchange at once."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.exchange: Exchange | None = None
        self.writable = True
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._pipeline: deque[Request] = deque()
        self._request = Request("", b"")
        self._body: list[bytes] = []
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.host.accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._disarm()
        self._hang_up()
        self.host.closed(self)

    def eof_received(self) -> bool:
        self._hang_up()
        return False

    def _hang_up(self) -> None:
        self._pipeline.clear()
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.hang_up()

    def data_received(self, data: bytes) -> None:
        self._disarm()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError:
            pairs = (
                ("content-type", "text/plain; charset=utf-8"),
                ("content-length", str(len(_REFUSAL))),
                ("connection", "close"),
            )
            self.write(head(400, pairs) + _REFUSAL)
            self.close()

    def on_message_begin(self) -> None:
        self._request = Request("", b"")
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode("ascii")
        request.http_version = self._parser.get_http_version()
        request.keep_alive = request.http_version != "1.0" and self._parser.should_keep_alive()
        if (request.header("expect") or "").lower() == "100-continue" and self.exchange is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._request.body = b"".join(self._body)
        if self.exchange is None and not self._pipeline:
            self._start(self._request)
            return
        self._pipeline.append(self._request)
        self.transport.pause_reading()

    def _start(self, request: Request) -> None:
        self.exchange = Exchange(self, request)
        self.host.handle(self.exchange)

    def finished(self, *, keep: bool) -> None:
        """The running exchange has said its last: take the next request, wait for one, or close."""
        self.exchange = None
        if self.transport.is_closing():
            return
        if not keep:
            self.close()
        elif self._pipeline:
            self.loop.call_soon(self._next)
        else:
            self._disarm()
            self._idle = self.loop.call_later(self.host.keep_alive, self.close)

    def _next(self) -> None:
        if self._pipeline:
            request = self._pipeline.popleft()
            if not self._pipeline:
                self.transport.resume_reading()
            self._start(request)

    def _disarm(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.exchange is not None:
            self.exchange.resume()

    def write(self, raw: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(raw)

    def close(self) -> None:
        """FIN, after what is already written."""
        self.transport.close()

    def abort(self) -> None:
        """Close without a further word."""
        self.transport.abort()

    def retire(self) -> None:
        """Close now if idle, else with the end of the running exchange."""
        if self.exchange is None or self.exchange.over:
            self.close()
        else:
            self.exchange.request.keep_alive = False

    def reset(self, patience: int = 500) -> None:
        """RST, once what is already written has been handed to the kernel, or the client has not read for 0.5 s."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() and patience:
            self.loop.call_later(0.001, self.reset, patience - 1)
            return
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
