"""A caller that says exactly what a test tells it to, over a socket, and an application to call."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import GatewayError
from app.server.lifecycle import Lifecycle
from app.server.listener import Listener, listening
from app.server.options import ServerOptions

PATIENCE = 30.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return json.loads(self.body)["error"]["code"]


class RawCaller:
    """Every wait is for an event and fails after PATIENCE seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
            }
            return Answer(status, headers, await self._body(status, headers))

    async def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status < 200:
            return b""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read(-1)
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readuntil(b"\r\n")
        await self.reader.readuntil(b"\r\n")
        return body

    async def answer_rest(self) -> bytes:
        """The chunks that are left of an answer begun, as they came."""
        async with asyncio.timeout(PATIENCE):
            rest = b""
            while not rest.endswith(b"\r\n0\r\n\r\n"):
                if not (piece := await self.reader.read(65536)):
                    break
                rest += piece
            return rest

    async def closed(self) -> bytes:
        """What came until the server closed."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b""

    def hang_up(self) -> None:
        self.writer.transport.abort()


@dataclass
class Application:
    """Answers 200 with what it was asked; `/stream` starts to answer and goes on when told.

    Keeps the scopes it got, the bodies it read and whether its callers hung up.
    """

    scopes: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    hang_ups: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.scopes.append(scope)
        if scope["path"] == "/unread":
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"no"})
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        if scope["path"] == "/stream":
            await self._stream(scope, send)
        else:
            length = b"%d" % len(body)
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
            )
            await send({"type": "http.response.body", "body": body})

    async def _stream(self, scope: Any, send: Any) -> None:
        scope["extensions"]["sluice"].on_hang_up(self._hung_up)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        self.started.set()
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _hung_up(self) -> None:
        self.hang_ups += 1
        self.left.set()
        self.go_on.set()


class House:
    """A listener on a free port with everything it refused, and callers for it."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.app = app
        self.refused: list[GatewayError] = []
        self.lifecycle = Lifecycle()
        self.options = ServerOptions(**{"host": "127.0.0.1", "port": 0} | options)
        self.listener = Listener(
            app, self.lifecycle, self.options, refused=self.refused.append, lifespan="off"
        )
        self._callers: list[RawCaller] = []

    async def call(self, data: bytes = b"") -> RawCaller:
        caller = RawCaller(*await asyncio.open_connection("127.0.0.1", self.listener.port))
        self._callers.append(caller)
        caller.say(data)
        return caller

    async def leave(self) -> None:
        for caller in self._callers:
            caller.hang_up()
        await asyncio.sleep(0)


@asynccontextmanager
async def house(app: Any, **options: Any):
    """A listening house; at the end its callers are gone and no connection or task may be left."""
    subject = House(app, **options)
    async with listening(subject.listener):
        yield subject
        await subject.leave()
        async with asyncio.timeout(PATIENCE):
            while subject.listener.connections or subject.listener.tasks:
                await asyncio.sleep(0)


def post(path: str = "/", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post_chunked(path: str, *chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end
