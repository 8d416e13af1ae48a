"""A wire that can be cut: TCP in front of an endpoint, which ends after so many bytes of an answer."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit


class Scissors:
    """`after` bytes of an answer to a POST, head and chunk sizes included, the connection ends; None: never."""

    def __init__(self, url: str) -> None:
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self.after: int | None = None
        self.cuts = 0
        self.longest = 0
        """Bytes of the longest answer that passed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Outer(self), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()


class _Outer(asyncio.Protocol):
    """The gateway's side of one connection."""

    def __init__(self, scissors: Scissors) -> None:
        self.scissors = scissors
        self.asked = False
        self.passed = 0
        self._inner: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_connection(
            lambda: _Inner(self), self.scissors.host, self.scissors.port
        )
        self._inner.write(b"".join(self._early))
        if self.transport.is_closing():
            self._inner.close()

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST"):
            self.asked, self.passed = True, 0
        if self._inner is None:
            self._early.append(data)
        else:
            self._inner.write(data)

    def connection_lost(self, exc) -> None:
        if self._inner is not None:
            self._inner.close()

    def answer(self, data: bytes) -> None:
        scissors = self.scissors
        if self.asked and scissors.after is not None:
            data, cut = data[: scissors.after - self.passed], self.passed + len(data) >= scissors.after
            if cut and not self.transport.is_closing():
                scissors.cuts += 1
                self.transport.write(data)
                self.transport.close()
        self.passed += len(data)
        if self.asked:
            scissors.longest = max(scissors.longest, self.passed)
        if not self.transport.is_closing():
            self.transport.write(data)


class _Inner(asyncio.Protocol):
    """The endpoint's side."""

    def __init__(self, outer: _Outer) -> None:
        self._outer = outer

    def data_received(self, data: bytes) -> None:
        self._outer.answer(data)

    def connection_lost(self, exc) -> None:
        self._outer.transport.close()
