"""uvicorn's HTTP protocol with limits: no peer holds a connection longer, or sends more, than it may.

Requests of one connection are served one at a time. A request that arrives before the answer to the one
before it is complete is not read: that answer is finished, then the connection closes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Literal

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.errors import GatewayError, HeadersTooLarge, InvalidRequest, RequestTimeout, RequestTooLarge
from app.server.answer import Answer, CloseDelimited
from app.server.connection import Connection
from app.server.flow import Flow
from app.server.head import head_without, judge_head, named_fields
from app.server.refusal import refusal_bytes
from app.server.scope import common_scope, request_scope
from app.server.stall import Stall

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Config
    from uvicorn.server import ServerState

    from app.server.terms import Terms

KEEP_ALIVE = 75.0  # nginx's own: longer than the proxies before us keep theirs
LINGER = 2.0


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `deadline` is loop time; the listener's heartbeat calls `check`."""

    # uvicorn's own attributes fill its dict up to where connections no longer share its keys.
    __slots__ = ("_body_bytes", "_common", "_fields", "_head_bytes", "_stall", "connection", "deadline", "finished",
                 "lifecycle", "limits", "receiving", "refused")  # fmt: skip
    app: Any
    cycle: Any
    flow: Any

    def __init__(self, terms: Terms, config: Config, server_state: ServerState, **rest: Any) -> None:
        super().__init__(config, server_state, **rest)
        del self.pipeline  # requests do not wait in line
        self.refused = terms.refused
        self.lifecycle = terms.lifecycle
        self.limits = terms.limits
        self.headers = []
        self.deadline = inf
        self.receiving: Literal["nothing", "head", "body"] = "nothing"
        self.finished = False
        self._fields: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0
        self._common: dict[str, Any] = {}
        self._stall = Stall()

    @property
    def serving(self) -> bool:
        """Whether an answer is due or under way."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._common = common_scope(self)
        self.deadline = self.loop.time() + self.limits.header_timeout

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._hang_up()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()

    def eof_received(self) -> None:
        self._hang_up()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.reset()

    def data_received(self, data: bytes) -> None:
        if self.finished:
            return
        self._head_bytes = len(data) + (0 if self.receiving == "nothing" else self._head_bytes)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._decline_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            if not self.finished:
                cause = exc.__context__
                self.refuse(cause if isinstance(cause, GatewayError) else InvalidRequest("Malformed HTTP."))
        else:
            if self.receiving == "body":
                self._fields.clear()
            elif self.receiving == "head" and self._head_bytes > self.limits.max_header:
                self.refuse(HeadersTooLarge())

    def on_message_begin(self) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._finish()
            raise InvalidRequest
        self.receiving = "head"
        self.url = b""
        self.headers = []
        self._fields = []
        self._body_bytes = 0
        if cycle is not None:
            self.deadline = self.loop.time() + self.limits.header_timeout

    def on_header(self, name: bytes, value: bytes) -> None:
        """Those that come after the head are a trailer, which counts for nothing."""
        self._fields += (name, value)

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.headers = named_fields(self._fields)
        self._fields = []
        version = parser.get_http_version()
        named = judge_head(version, self.url, self.headers, self._head_bytes, self.limits)
        if parser.should_upgrade():
            return
        scope = request_scope(self, self._common, version)
        self.cycle = answer = (CloseDelimited if version == "1.0" else Answer)(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.on_response_complete,
            keep_alive=version == "1.1" and parser.should_keep_alive() and not self.lifecycle.leaving,
            expects_continue=b"expect" in named and named[b"expect"].lower() == b"100-continue",
        )
        self.connection = connection = Connection(self.client, answer)
        scope["extensions"] = {"sluice": connection}
        self.receiving = "body"
        self.deadline = self.loop.time() + self.limits.body_timeout
        task = self.loop.create_task(answer.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.max_body:
            raise RequestTooLarge
        cycle = self.cycle
        if cycle.response_complete:
            return
        if cycle.arrived(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self.receiving == "head":
            return
        self.receiving = "nothing"
        cycle = self.cycle
        if cycle.response_complete:
            self.deadline = self.loop.time() + KEEP_ALIVE
            return
        self.deadline = inf
        cycle.more_body = False
        cycle.wake()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.receiving == "nothing":
            self.deadline = self.loop.time() + KEEP_ALIVE

    def close_after_answer(self) -> None:
        """Close when the answer that is due is complete."""
        if self.serving:
            self.cycle.keep_alive = False

    def refuse(self, error: GatewayError) -> None:
        """Answer in the application's place and close; an answer that has begun is only finished.

        What the peer still sends is read and dropped for a while: closing on unread bytes would reset
        the connection, and the peer might never see the answer.
        """
        begun = self.cycle.response_started if self.receiving == "body" else self.serving
        self._finish()
        if begun:
            return
        self._hang_up()
        self.refused(error)
        asked = self.headers or named_fields(self._fields)
        self.transport.write(refusal_bytes(error, asked, self.server_state.default_headers))
        self.transport.write_eof()
        self.flow.resume_reading()
        self.deadline = self.loop.time() + LINGER

    def check(self, now: float) -> None:
        """End what has waited too long, on either side."""
        if self.flow.write_paused or self.transport.is_closing():
            if self._stall.lasts(now, self.transport.get_write_buffer_size()) >= self.limits.write_stall:
                self.transport.abort()
        elif now >= self.deadline:
            if self.receiving == "body" and not self.finished:
                self.refuse(RequestTimeout())
            else:
                self.transport.close()

    def _finish(self) -> None:
        """Read no further request; close when the answer that is due is complete."""
        self.finished = True
        self.deadline = inf
        self.close_after_answer()
        if self.receiving == "body" and not self.serving:
            self.transport.close()

    def _hang_up(self) -> None:
        """Nobody will read the answer that is due: tell the application, by each way it may listen."""
        if not self.serving:
            return
        self.cycle.disconnected = True
        self.cycle.wake()
        self.flow.resume_writing()
        self.connection.hang_up()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the same request without its Upgrade header, for which the parser would skip the body."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return self.refuse(InvalidRequest("This gateway is no proxy."))
        head = head_without(b"upgrade", method, self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        return self.data_received(head + rest)
