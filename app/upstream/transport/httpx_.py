"""The same promise kept with httpx: for tests that mock it, and for whoever prefers a known client.

It goes below httpx.AsyncClient, straight to its transports, so that no cookie, redirect, proxy or
decoder comes in between. What it cannot do as the direct transport does: tell a reused connection from a
fresh one, so that one the endpoint closed while it was idle costs an attempt; refuse a flood of 1xx
answers; drop a connection on which bytes follow the end of an answer (they are read as the next answer);
let go of connections whose calls were cancelled right after connecting (httpcore keeps them as new).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import httpx

from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    ConnectFailed,
    ConnectTimeout,
    EndpointError,
    FirstByteTimeout,
    IdleTimeout,
    StreamBroken,
)
from app.core.reply import Reply
from app.upstream.transport.direct.tls import ssl_context
from app.upstream.transport.head import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from app.core.endpoint import EndpointSpec, Tls
    from app.core.reply import Outbound
    from app.upstream.transport.options import TransportOptions

    Later = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

_EARLY_END = "Server disconnected"
_CUT = "peer closed connection"


class HttpxTransport:
    """Implements app.core.ports.Transport; `transport` replaces the network, for mocks."""

    def __init__(self, options: TransportOptions, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._options = options
        self._given = transport
        self._by_tls: dict[Tls | None, httpx.AsyncBaseTransport] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, outbound: Outbound, endpoint: EndpointSpec, connect_timeout: float) -> Reply:
        request = httpx.Request(
            outbound.method,
            endpoint.url + outbound.path,
            headers=list(outbound.headers),
            content=outbound.body or None,
            extensions={"timeout": {"connect": connect_timeout}},
        )
        try:
            response = await self._transport(endpoint).handle_async_request(request)
        except httpx.HTTPError as error:
            raise _before_head(error) from error
        except OSError as error:
            raise ConnectFailed from error
        headers = {name.lower(): response.headers[name] for name in response.headers}
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the given transport answers synchronously")
        body = HttpxBody(response.stream, self._later)
        try:
            body.framed, body.room = judge(response.status_code, headers, self._options)
        except BadUpstream:
            body.close()
            raise
        return Reply(response.status_code, headers, body)

    async def aclose(self) -> None:
        await asyncio.gather(*self._closing)
        for transport in self._by_tls.values():
            await transport.aclose()

    def _transport(self, endpoint: EndpointSpec) -> httpx.AsyncBaseTransport:
        if self._given is not None:
            return self._given
        known = self._by_tls.get(endpoint.tls)
        if known is None:
            known = self._by_tls[endpoint.tls] = httpx.AsyncHTTPTransport(
                verify=ssl_context(endpoint.tls),
                trust_env=False,
                limits=httpx.Limits(keepalive_expiry=self._options.keep_alive_expiry),
            )
        return known

    def _later(self, closing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """In a task of its own, so that no cancellation of the reader cuts it short."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


class HttpxBody:
    """Implements app.core.reply.Body; `room` counts the bytes that may still come."""

    def __init__(self, stream: httpx.AsyncByteStream, later: Later) -> None:
        self.framed = True
        self.room = 0
        self._stream = stream
        self._chunks = aiter(stream)
        self._later = later
        self._over = False
        self._error: EndpointError | None = None

    async def read(self) -> bytes:
        """Raises StreamBroken for a body cut short, BadUpstream for one that breaks its own framing."""
        if self._error is not None:
            raise self._error
        try:
            while not self._over:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    self._over = True
                    await asyncio.shield(self._later(self._stream.aclose()))
                elif chunk:
                    return self._counted(chunk)
        except httpx.HTTPError as error:
            self._error = _in_body(error)
            raise self._error from error
        except BaseException:
            self.close()
            raise
        return b""

    @property
    def ended(self) -> bool:
        return self._over and self._error is None

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """Every piece is read."""

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._error = self._error or StreamBroken(reason="closed")
            self._later(self._drop())

    def _counted(self, chunk: bytes) -> bytes:
        self.room -= len(chunk)
        if self.room < 0:
            self._error = BadUpstream("The endpoint's answer is too large.")
            raise self._error
        return chunk

    async def _drop(self) -> None:
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()
        await self._stream.aclose()


def _before_head(error: httpx.HTTPError) -> EndpointError:
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return ConnectTimeout()
        case httpx.ConnectError():
            return ConnectFailed()
        case httpx.TimeoutException():
            return FirstByteTimeout()
        case httpx.NetworkError():
            return ClosedEarly()
        case httpx.RemoteProtocolError() if str(error).startswith(_EARLY_END):
            return ClosedEarly()
    return BadUpstream("The endpoint does not speak HTTP.")


def _in_body(error: httpx.HTTPError) -> EndpointError:
    match error:
        case httpx.TimeoutException():
            return IdleTimeout()
        case httpx.NetworkError():
            return StreamBroken(reason="reset")
        case httpx.RemoteProtocolError() if str(error).startswith(_CUT):
            return StreamBroken(reason="cut")
    return BadUpstream()
