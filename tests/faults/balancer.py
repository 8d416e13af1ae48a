"""A small TCP balancer, as an operator would set up: new connections go in turn to whoever says it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Self

INTERVAL = 0.1
"""Seconds between two checks."""

_REQUEST = b"GET /ready HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n"


class Balancer:
    """Knows nothing of HTTP beyond its checks; a connection stays where it is until either side closes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ready: set[int] = set()
        self.given = dict.fromkeys(ports, 0)
        self.open: set[asyncio.Transport] = set()
        self.changes: list[tuple[float, int, bool]] = []
        self._turns = count()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self.open, self._accepted), "127.0.0.1", 0)
        for port in self.given:
            self._start(self._check(port))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in self.open:
            transport.abort()
        while self.open:
            await asyncio.sleep(0)

    def _start(self, going: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(going)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, port: int) -> None:
        while True:
            before = port in self.ready
            try:
                async with asyncio.timeout(1):
                    good = await _is_ready(port)
            except TimeoutError:
                good = before
            except (OSError, EOFError):
                good = False
            if good != before:
                (self.ready.add if good else self.ready.discard)(port)
                self.changes.append((time.monotonic(), port, good))
            await asyncio.sleep(INTERVAL)

    def _accepted(self, near: _Side) -> None:
        near.transport.pause_reading()
        self._start(self._connect(near))

    async def _connect(self, near: _Side) -> None:
        ports = sorted(self.ready)
        turn = next(self._turns) % len(ports) if ports else 0
        loop = asyncio.get_running_loop()
        for port in ports[turn:] + ports[:turn]:
            try:
                _, far = await loop.create_connection(lambda: _Side(self.open), "127.0.0.1", port)
            except OSError:
                continue
            self.given[port] += 1
            near.far, far.far = far.transport, near.transport
            near.transport.resume_reading()
            return
        near.transport.close()


class _Side(asyncio.Protocol):
    """One end of a connection; what it says goes to the `far` one, and so does that it is over."""

    transport: asyncio.Transport
    far: asyncio.Transport | None = None

    def __init__(
        self, open_: set[asyncio.Transport], accepted: Callable[[_Side], None] | None = None
    ) -> None:
        self._open = open_
        self._accepted = accepted

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._open.add(transport)
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self.far.write(data)

    def eof_received(self) -> bool:
        """A caller may only have said all it has to say; a gateway that closes is through with it."""
        if self._accepted is not None and self.far is not None:
            self.far.write_eof()
        return self._accepted is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self.transport)
        if self.far is not None:
            self.far.close()

    def pause_writing(self) -> None:
        self.far.pause_reading()

    def resume_writing(self) -> None:
        self.far.resume_reading()


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_REQUEST)
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
