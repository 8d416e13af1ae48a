"""The way to one worker's operators' edge: HTTP over its socket in a private folder."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from app.server.workers.doors import Reply, Unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from app.server.workers.doors import Request


@dataclass(frozen=True, slots=True)
class UnixDoor:
    """Implements Door. No connection is kept: a worker that is replaced has none of ours."""

    seat: int
    pid: int
    path: Path

    @asynccontextmanager
    async def ask(self, request: Request, patience: float) -> AsyncIterator[Reply]:
        transport = httpx.AsyncHTTPTransport(
            uds=str(self.path),
            verify=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        url = httpx.URL("http://worker").copy_with(raw_path=request.target)
        headers = [*request.headers, (b"content-length", b"%d" % len(request.body)), (b"host", b"worker")]
        asked = httpx.Request(
            request.method,
            url,
            headers=headers,
            content=request.body,
            extensions={"timeout": httpx.Timeout(patience).as_dict()},
        )
        try:
            response = await transport.handle_async_request(asked)
        except (httpx.HTTPError, OSError) as error:
            await transport.aclose()
            raise Unanswered(str(error)) from error
        try:
            yield Reply(response.status_code, response.headers.raw, _chunks(response))
        finally:
            with suppress(httpx.HTTPError, OSError):
                await response.aclose()
            await transport.aclose()


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except (httpx.HTTPError, OSError) as error:
        raise Unanswered(str(error)) from error
