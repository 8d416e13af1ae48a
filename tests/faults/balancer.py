"""A small TCP balancer, as an operator would set up: new connections go in turn to whoever says it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Self

INTERVAL = 0.1
"""Seconds between two checks."""

_REQUEST = b"GET /ready HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n"


class Balancer:
    """Knows nothing of HTTP beyond its checks; a connection stays where it is until either side closes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ready: set[int] = set()
        self.given = dict.fromkeys(ports, 0)
        self._turns = count()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        for port in self.given:
            self._tasks.add(asyncio.create_task(self._check(port), name=f"check {port}"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _check(self, port: int) -> None:
        while True:
            good = False
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    good = await _is_ready(port)
            (self.ready.add if good else self.ready.discard)(port)
            await asyncio.sleep(INTERVAL)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        with suppress(asyncio.CancelledError):  # streams of Python 3.11 would log it
            await self._serve(reader, writer)
        writer.close()
        self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._candidates():
            try:
                far_reader, far = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                self.ready.discard(port)
                continue
            self.given[port] += 1
            outward = asyncio.create_task(_pump(reader, far))
            try:
                await _pump(far_reader, writer)
            finally:
                outward.cancel()
                await asyncio.wait({outward})
                far.close()
            return

    def _candidates(self) -> list[int]:
        ports = sorted(self.ready)
        turn = next(self._turns) % len(ports) if ports else 0
        return ports[turn:] + ports[:turn]


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_REQUEST)
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A reset on one side is a reset on the other."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
