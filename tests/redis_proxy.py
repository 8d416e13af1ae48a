"""TCP in front of a Redis: slow, deaf (requests wait), or mute (they arrive, answers do not)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress


class RedisProxy:
    """`held` are the requests that waited while it was `deaf`: `deliver` sends them after all."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.deaf = False
        self.mute = False
        self.held: list[bytes] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def aclose(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def deliver(self) -> None:
        """What was held arrives, though who sent it has given up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for request in self.held:
            writer.write(request)
            await reader.read(65536)
        self.held.clear()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(OSError, asyncio.CancelledError):
            pumps = [
                asyncio.ensure_future(self._ask(reader, inner_writer)),
                asyncio.ensure_future(self._answer(inner_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        inner_writer.close()
        writer.close()
        self._connections.discard(task)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay)
            if self.deaf:
                self.held.append(data)
            else:
                writer.write(data)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.mute:
                writer.write(data)


@asynccontextmanager
async def before(port: int):
    proxy = RedisProxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()
