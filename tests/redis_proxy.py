"""TCP in front of a Redis: slow, deaf (requests wait), or mute (they arrive, answers do not)."""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.faults.tcpproxy import Link, TcpProxy, Way


class RedisProxy(TcpProxy):
    """`held` are the requests that waited while it was `deaf`: `deliver` sends them after all."""

    def __init__(self, port: int) -> None:
        super().__init__(f"redis://127.0.0.1:{port}/0")
        self.deaf = False
        self.mute = False
        self.held: list[bytes] = []

    async def deliver(self) -> None:
        """What was held arrives, though who sent it has given up."""
        reader, writer = await self.connect()
        for request in self.held:
            writer.write(request)
            await reader.read(65536)
        self.held.clear()
        writer.close()

    async def forward(self, data: bytes, way: Way, link: Link) -> None:
        if way == "up" and self.deaf:
            self.held.append(data)
        elif way == "up" or not self.mute:
            await super().forward(data, way, link)


@asynccontextmanager
async def before(port: int):
    async with RedisProxy(port) as proxy:
        yield proxy
