"""A transport and fault servers to aim it at; leaves nothing behind, and says so when something stays."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from app.core.endpoint import EndpointSpec
from app.core.reply import Outbound
from app.upstream.transport.direct.transport import DirectTransport
from app.upstream.transport.httpx_ import HttpxTransport
from app.upstream.transport.options import TransportOptions
from tests.clock import FakeClock
from tests.faults.faultserver import FaultServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.endpoint import Tls
    from app.core.ports import Transport
    from app.core.reply import Body, Reply
    from tests.faults.faultserver import Behaviour

SOON = 5.0
"""Seconds within which what must happen has happened, on a busy machine too."""

OPTIONS = TransportOptions(max_body=1_000_000)


class Rig:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.clock = FakeClock()
        self.transport: Transport = (
            DirectTransport(OPTIONS, self.clock) if kind == "direct" else HttpxTransport(OPTIONS)
        )
        self.endpoints: list[EndpointSpec] = []
        self._stack = AsyncExitStack()

    async def serve(
        self, behaviour: Behaviour | Mapping[str, Behaviour], *, tls: Tls | None = None, **options
    ) -> FaultServer:
        """Starts a server and aims `send` at it."""
        server = await self._stack.enter_async_context(FaultServer(behaviour, **options))
        self.aim(server.url, tls)
        return server

    def aim(self, url: str, tls: Tls | None = None) -> None:
        self.endpoints.append(EndpointSpec("endpoint", url, tls=tls))

    async def send(
        self,
        path: str = "/v1/chat/completions",
        *,
        body: bytes = b'{"model": "m"}',
        headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),),
        method: str = "POST",
        connect: float = SOON,
    ) -> Reply:
        outbound = Outbound(method, path, headers, body)
        async with asyncio.timeout(SOON):
            return await self.transport.send(outbound, self.endpoints[-1], connect)

    async def read(self, body: Body) -> bytes:
        async with asyncio.timeout(SOON):
            return await body.read()

    async def whole(self, body: Body) -> bytes:
        return b"".join([arrived async for arrived in self.pieces(body)])

    async def pieces(self, body: Body):
        while arrived := await self.read(body):
            yield arrived

    async def exchange(self, path: str = "/v1/chat/completions") -> bytes:
        return await self.whole((await self.send(path)).body)

    async def read_at_least(self, body: Body, size: int) -> bytes:
        got = b""
        while len(got) < size:
            arrived = await self.read(body)
            assert arrived, f"the body ended after {got!r}"
            got += arrived
        return got

    def connections(self) -> tuple[int, int]:
        """(open, idle) over all endpoints; the direct transport's only."""
        assert isinstance(self.transport, DirectTransport)
        counts = [
            self.transport.connections(endpoint)
            for endpoint in {each.url: each for each in self.endpoints}.values()
        ]
        return sum(count for count, _ in counts), sum(idle for _, idle in counts)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON):
            while not true():
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Quiescence: no connection in use, then none at all, and no task left."""
        if self.kind == "direct":
            await self.until(lambda: self.connections()[0] == self.connections()[1])
        await self.transport.aclose()
        if self.kind == "direct":
            assert self.connections() == (0, 0)
        await self._stack.aclose()
        await self.until(lambda: len(asyncio.all_tasks()) == 1)
