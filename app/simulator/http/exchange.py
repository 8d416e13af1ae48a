"""One request and its answer: head, body or stream, and every way an answer can break off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from app.simulator.http.head import Pairs, chunk, head
from app.simulator.http.request import Request

COMMENT = b": keep-alive\n\n"


class Line(Protocol):
    """The connection an exchange writes to."""

    loop: asyncio.AbstractEventLoop
    writable: bool

    def write(self, raw: bytes) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def finished(self, *, keep: bool) -> None: ...


class Outlet(Protocol):
    """How raw bytes leave: whole and at once, unless a fault wants otherwise."""

    def write(self, raw: bytes) -> None: ...
    def drain(self, then: Callable[[], None]) -> None:
        """Call `then` when everything written has left."""


class Direct:
    """Writes at once."""

    def __init__(self, line: Line) -> None:
        self.write = line.write

    def drain(self, then: Callable[[], None]) -> None:
        then()


class Exchange:
    """Answers exactly once. After the end, a cut, a reset or a hang-up every further word is ignored."""

    def __init__(self, line: Line, request: Request) -> None:
        self.line = line
        self.request = request
        self.outlet: Outlet = Direct(line)
        self.edit: Callable[[bytes], bytes] | None = None
        self.common: Pairs = ()
        self.on_gone: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.status = 0
        self.sent = 0
        self.over = False
        self.muted = False
        self.closes_quietly = False
        """Close after the answer without having announced it."""
        self.withholds_end = False
        """Never send the terminating chunk of a stream."""
        self.last_write = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def writable(self) -> bool:
        return self.line.writable

    def respond(self, status: int, body: bytes, pairs: Pairs, *, bare: bool = False) -> None:
        """A whole answer. `bare` leaves out the headers common to all answers."""
        if self.over or self.muted:
            return
        self.status = status
        if self.edit is not None:
            body = self.edit(body)
        names = {name for name, _ in pairs}
        length = ("content-length", str(len(body)))
        if "content-length" in names:
            pairs = tuple(length if pair[0] == "content-length" else pair for pair in pairs)
        else:
            at = 1 if names & {"allow", "endpoint-load-metrics"} else 0
            pairs = (*pairs[:at], length, *pairs[at:])
        if not bare:
            pairs += tuple(pair for pair in self.common if pair[0] not in names)
        self.sent = len(body)
        self.outlet.write(
            head(status, self._closing(pairs)) + (b"" if self.request.method == "HEAD" else body)
        )
        self._finish()

    def open_stream(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Status 200 and the headers of a chunked body, sent now."""
        self.status = 200
        pairs = (("content-type", content_type), *self.common, ("transfer-encoding", "chunked"))
        self.outlet.write(head(200, self._closing(pairs)))
        self.last_write = self.line.loop.time()

    def send(self, payload: bytes) -> None:
        """One HTTP chunk of a stream."""
        if self.edit is not None:
            payload = self.edit(payload)
        if self.over or self.muted or not payload:
            return
        self.sent += len(payload)
        self.last_write = self.line.loop.time()
        self.outlet.write(chunk(payload))

    def end(self) -> None:
        """The terminating chunk."""
        if self.withholds_end:
            self.mute()
        if self.over or self.muted:
            return
        self.outlet.write(chunk(b""))
        self._finish()

    def comment_when_idle(self, interval: float) -> None:
        """A `: keep-alive` comment after every `interval` seconds without a word."""
        due = self.last_write + interval
        if due <= self.line.loop.time() + 0.0005:
            self.send(COMMENT)
            due = self.last_write + interval
        self._timer = self.line.loop.call_at(due, self.comment_when_idle, interval)

    def mute(self) -> None:
        """Say nothing more, and keep the connection open."""
        self.muted = True
        self._stop()

    def raw(self, raw: bytes) -> None:
        """Bytes outside of any framing."""
        self.status = self.status or 200
        self.outlet.write(raw)

    def cut(self) -> None:
        """FIN without the end of the answer."""
        self._break(self.line.close)

    def reset(self) -> None:
        """RST after what was said so far."""
        self._break(self.line.reset)

    def hang_up(self) -> None:
        """The client has left."""
        gone = not self.over
        self._stop()
        self.over = True
        if gone and self.on_gone is not None:
            self.on_gone()

    def resume(self) -> None:
        """The client reads again."""
        if self.on_writable is not None:
            self.on_writable()

    def _closing(self, pairs: Pairs) -> Pairs:
        return pairs if self.request.keep_alive else (*pairs, ("connection", "close"))

    def _finish(self) -> None:
        self._stop()
        self.over = True
        if self.on_end is not None:
            self.on_end()
        keep = self.request.keep_alive and not self.closes_quietly
        self.outlet.drain(lambda: self.line.finished(keep=keep))

    def _break(self, how: Callable[[], None]) -> None:
        self._stop()
        self.over = True
        self.outlet.drain(how)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
