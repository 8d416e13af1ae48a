"""The control plane's way to an endpoint: small questions, bounded in time and size."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Protocol

import httpx

from app.core.failures import TotalTimeout
from app.resilience.deadline import Deadline
from app.upstream.transport.direct.tls import ssl_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec

ANSWER = 2 * 2**20
"""Bytes of an answer that are read."""


class UnansweredError(Exception):
    """No usable answer came; `reason` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_client(tls: ssl.SSLContext | None) -> httpx.AsyncClient:
    """No proxies, redirects or cookies, and no connection kept: what cancelling leaks then is nothing.

    Without a context it may be used for plain HTTP alone.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(verify=tls or False, trust_env=False, limits=limits, cookies=no_cookies)


class Control(Protocol):
    """Whoever can be sent to an endpoint with a question."""

    async def ask(
        self, spec: EndpointSpec, path: str, timeout: float, *, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a GET, or of a POST of JSON; within `timeout` seconds in all.

        Raises UnansweredError.
        """
        ...

    async def aclose(self) -> None: ...


class ControlPlane:
    """Implements Control: one client for each TLS setting, shared by probes and scrapes."""

    def __init__(
        self, clock: Clock, open_: Callable[[ssl.SSLContext | None], httpx.AsyncClient] = open_client
    ) -> None:
        self._clock = clock
        self._open = open_
        self._clients: dict[ssl.SSLContext | None, httpx.AsyncClient] = {}

    async def ask(
        self, spec: EndpointSpec, path: str, timeout: float, *, body: bytes | None = None
    ) -> tuple[int, bytes]:
        headers = {**spec.headers, "accept-encoding": "identity", "user-agent": "sluice"}
        if spec.api_key:
            headers["authorization"] = f"Bearer {spec.api_key}"
        if body is not None:
            headers["content-type"] = "application/json"
        method = "GET" if body is None else "POST"
        try:
            with Deadline(self._clock) as deadline:
                deadline.until(self._clock.monotonic() + timeout, TotalTimeout)
                request = self._client(spec).stream(
                    method, spec.url + path, content=body, headers=headers, timeout=timeout
                )
                async with request as response:
                    return response.status_code, await _read(response)
        except (TotalTimeout, httpx.TimeoutException) as error:
            raise UnansweredError("timeout") from error
        except (httpx.NetworkError, OSError, ValueError) as error:
            # the last one: its name has no address
            raise UnansweredError("connect") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise UnansweredError("bad") from error

    async def aclose(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    def _client(self, spec: EndpointSpec) -> httpx.AsyncClient:
        context = ssl_context(spec.tls) if spec.secure else None
        client = self._clients.get(context)
        if client is None:
            client = self._clients[context] = self._open(context)
        return client


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnansweredError("bad")
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > ANSWER:
            raise UnansweredError("too_large")
        parts.append(chunk)
    return b"".join(parts)
