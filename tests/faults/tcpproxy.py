"""TCP in front of a server, that can be made slow, narrow, silent or gone while it runs."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Mode = Literal["open", "silent", "refusing"]
Way = Literal["up", "down"]
"""up: towards the server; down: towards who connected."""

PIECE = 65536


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    opened = writer.get_extra_info("socket")
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Once what is still to be written is, unless the connection was aborted."""
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


@dataclass(eq=False)
class Link:
    """One connection and its counterpart to the server."""

    outer: asyncio.StreamWriter
    inner: asyncio.StreamWriter
    pumps: tuple[asyncio.Task[None], ...] = ()

    def writer(self, way: Way) -> asyncio.StreamWriter:
        return self.inner if way == "up" else self.outer

    def reset(self) -> None:
        reset(self.outer)
        reset(self.inner)


class TcpProxy:
    """Passes bytes and ends both ways; everything may be changed at any moment and concerns what comes next.

    `mode`: open; silent: accepts, and holds everything back until it is open again, ends too;
    refusing: new connections are reset, and old ones when they speak.
    `delay`: seconds added to each piece in each direction. `rate`: bytes a second in each direction of
    each connection, None for any.
    """

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        self.target = target
        self.delay = 0.0
        self.rate: float | None = None
        self.accepted = 0
        self.port = 0
        self.links: set[Link] = set()
        self._host = host
        self._mode: Mode = "open"
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The target's, by way of this proxy."""
        return urlsplit(self.target)._replace(netloc=f"{self._host}:{self.port}").geturl()

    async def connect(self) -> Opened:
        """To the target."""
        parts = urlsplit(self.target)
        return await asyncio.open_connection(parts.hostname, parts.port)

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._flowing.clear()
        else:
            self._flowing.set()

    async def start(self) -> Self:
        """Listen, on the same port as before if it was stopped."""
        self._server = await asyncio.start_server(self._serve, self._host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop_listening(self) -> None:
        """Connections are refused; open ones live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset(self) -> None:
        """Every open connection ends with RST on both sides."""
        for link in tuple(self.links):
            link.reset()

    def half_close(self, way: Way) -> None:
        """A FIN for whoever reads in that direction; the other direction flows on."""
        for link in self.links:
            if not link.writer(way).is_closing():
                link.writer(way).write_eof()

    async def aclose(self) -> None:
        self.stop_listening()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def forward(self, data: bytes, way: Way, link: Link) -> None:
        """What becomes of a piece; for proxies that look at what they carry."""
        writer = link.writer(way)
        if not writer.is_closing():
            writer.write(data)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                if self._mode == "refusing":
                    reset(writer)
                else:
                    await self._carry(reader, writer)
        finally:
            await _closed(writer)
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await self.connect()
        link = Link(writer, inner_writer)
        self.links.add(link)
        link.pumps = (
            asyncio.ensure_future(self._pump(reader, "up", link)),
            asyncio.ensure_future(self._pump(inner_reader, "down", link)),
        )
        try:
            await asyncio.gather(*link.pumps)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            inner_writer.transport.abort()
            raise
        finally:
            for pump in link.pumps:
                pump.cancel()
            await asyncio.gather(*link.pumps, return_exceptions=True)
            await _closed(inner_writer)
            self.links.discard(link)

    async def _pump(self, reader: asyncio.StreamReader, way: Way, link: Link) -> None:
        try:
            while data := await reader.read(PIECE):
                await self._hold(len(data))
                if self._mode == "refusing":
                    raise ConnectionResetError
                await self.forward(data, way, link)
            await self._hold(0)
            if not link.writer(way).is_closing():
                link.writer(way).write_eof()
        except OSError:
            link.reset()
            raise

    async def _hold(self, size: int) -> None:
        await self._flowing.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.rate and size:
            await asyncio.sleep(size / self.rate)
