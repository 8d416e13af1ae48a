"""A raw TCP server that misbehaves on demand and writes down what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    Behaviour = Callable[["Peer"], Awaitable[None]]


@dataclass
class Seen:
    """One request as it came in; `connection` counts accepts from 1."""

    connection: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Log:
    """Append-only. `ends` says, per connection that a behaviour watched, how the other side left."""

    requests: list[Seen] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    bytes_in: int = 0


class Peer:
    """The server's side of one connection, as behaviours use it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: Log, number: int
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.log = log
        self.number = number
        self.request: Seen | None = None
        self.left = asyncio.Event()

    async def receive(self) -> Seen | None:
        """The next request; None when the other side is gone."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
            headers = [
                (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
            ]
            length = int(dict(headers).get("content-length", "0"))
            body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.log.bytes_in += len(raw) + len(body)
        method, path, _ = first.split(" ")
        self.request = Seen(self.number, method, path, headers, body)
        self.log.requests.append(self.request)
        return self.request

    async def send(self, *parts: bytes) -> None:
        """Each part leaves in a write of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def gone(self) -> str:
        """Wait until the other side leaves: "fin" or "rst"."""
        try:
            while await self.reader.read(65536):
                pass
            end = "fin"
        except ConnectionError:
            end = "rst"
        self.log.ends.append(end)
        self.left.set()
        return end

    def reset(self) -> None:
        """Close with RST."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class FaultServer:
    """Behaviours by path, or one for every path; each is called once per request, on a kept connection.

    `raw=True` calls the behaviour once per connection, before anything is read.
    """

    def __init__(
        self,
        behaviour: Behaviour | Mapping[str, Behaviour],
        *,
        raw: bool = False,
        host: str = "127.0.0.1",
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._behaviour = behaviour
        self._raw = raw
        self._host = host
        self._tls = tls_context
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.accepted = 0
        self.live = 0
        self.log = Log()
        self.port = 0

    @property
    def url(self) -> str:
        name = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{name}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._tls, limit=2**20, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening and drop every connection; the port stays this server's for `__aenter__`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.live += 1
        peer = Peer(reader, writer, self.log, self.accepted)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._serve(peer)
        finally:
            self.live -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, peer: Peer) -> None:
        if self._raw:
            assert callable(self._behaviour)
            await self._behaviour(peer)
            return
        while not peer.writer.is_closing() and (request := await peer.receive()) is not None:
            behaviour = self._behaviour if callable(self._behaviour) else self._behaviour[request.path]
            await behaviour(peer)
