"""How answers are written: by length or in chunks in HTTP/1.1, by closing the connection in HTTP/1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Iterable

BODILESS = (204, 304)


class Answer(RequestResponseCycle):
    """Keeps uvicorn's promises at half its price: the head is checked as a whole, not header by header."""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
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

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        lines, values = [STATUS_LINE[status]], [b""]
        for name, value in (*self.default_headers, *headers):
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            lines += (name, b": ", value, b"\r\n")
            values.append(value)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        together = b"".join(values)
        if b"\n" in together or b"\r" in together:
            raise RuntimeError("a line break inside of a header")
        lines.append(b"\r\n")
        self.transport.write(b"".join(lines))

    def _continue(self, body: bytes, *, last: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if body or last:
                self.transport.write(body + b"0\r\n\r\n" if last else body)
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("a body longer than its content-length")
            self.transport.write(body)
        if last:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("a body shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class CloseDelimited(Answer):
    """An answer to HTTP/1.0, which knows no chunks: it ends where the connection ends."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.chunked_encoding = False

    def _continue(self, body: bytes, *, last: bool) -> None:
        self.expected_content_length = len(body)
        super()._continue(body, last=last)
