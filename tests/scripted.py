"""Endpoints that do what a script says: behind a mocked client, or behind real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx
import respx

from app.upstream.transport.httpx_ import HttpxTransport
from app.upstream.transport.options import TransportOptions
from tests.faults.behaviours import END, chunk, saying, whole
from tests.faults.faultserver import FaultServer
from tests.house import Refusing, at, running
from tests.line import SSE, WHOLE, answer, error_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.faultserver import Behaviour, Peer

CHAT = "/v1/chat/completions"
MANY = 10


@dataclass(frozen=True)
class Act:
    """What becomes of one request. `refused` is of the endpoint as a whole: nobody listens."""

    parts: tuple[bytes, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    end: Literal["whole", "cut", "silence", "silent", "closed", "refused"] = "whole"

    @property
    def streams(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


def says(body: bytes, status: int = 200, **headers: str) -> Act:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Act((body,), status, {"content-type": "application/json"} | given)


def fails(
    status: int,
    type_: str = "InternalServerError",
    message: str = "no",
    param: str | None = None,
    **headers: str,
) -> Act:
    """An error in vLLM's words."""
    return says(error_body(status, type_, message, param), status, **headers)


def streams(*parts: bytes, end: Literal["whole", "cut", "silence"] = "whole") -> Act:
    return Act(parts, 200, SSE, end)


ANSWERS = says(answer())
STREAMS = streams(*WHOLE)
REFUSED = Act(end="refused")
SILENT = Act(end="silent")
CLOSED = Act(end="closed")


class Endpoint:
    """Plays its acts in turn, the last one again and again; keeps what it was asked."""

    url: str

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.left = asyncio.Event()

    def _next(self, headers: Any, body: bytes) -> Act:
        self.asked.append((dict(headers), json.loads(body)))
        return self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]


class Mocked(Endpoint):
    """Known to a respx router; nobody listens at its url."""

    def __init__(self, router: respx.MockRouter, number: int, *acts: Act) -> None:
        super().__init__(*acts)
        self.url = f"http://127.0.0.1:{number}"
        router.post(self.url + CHAT).mock(side_effect=self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self._acts[0].end == "refused":
            raise httpx.ConnectError("refused", request=request)
        act = self._next(request.headers, request.content)
        if act.end == "closed":
            raise httpx.RemoteProtocolError(
                "Server disconnected without sending a response.", request=request
            )
        if act.end == "silent":
            await self._wait()
        return httpx.Response(act.status, headers=act.headers, stream=MockedBody(act, self))

    async def _wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


class MockedBody(httpx.AsyncByteStream):
    def __init__(self, act: Act, endpoint: Mocked) -> None:
        self._act = act
        self._endpoint = endpoint

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._act.parts:
            yield part
        if self._act.end == "cut":
            raise httpx.ReadError("reset")
        if self._act.end == "silence":
            await self._endpoint._wait()

    async def aclose(self) -> None:
        self._endpoint.left.set()


class Listening(Endpoint):
    """A server of its own."""

    async def open(self, stack: AsyncExitStack) -> None:
        if self._acts[0].end == "refused":
            refusing = Refusing()
            stack.callback(refusing.close)
            self.url = refusing.url
            return
        self.url = (await stack.enter_async_context(misbehaving(self._behave))).url

    async def _behave(self, peer: Peer) -> None:
        assert peer.request is not None
        act = self._next(peer.request.headers, peer.request.body)
        if act.end == "closed":
            peer.close()
        elif act.end == "silent":
            await self._gone(peer)
        else:
            await self._say(peer, act)

    async def _say(self, peer: Peer, act: Act) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in act.headers.items())
        body = b"".join(act.parts)
        framing = "transfer-encoding: chunked" if act.streams else f"content-length: {len(body)}"
        await peer.send(f"HTTP/1.1 {act.status} said\r\n{head}{framing}\r\n\r\n".encode())
        for part in act.parts:
            await peer.send(chunk(part) if act.streams else part)
            if len(act.parts) < MANY:
                await asyncio.sleep(0.002)  # so that each is read by itself
        if act.end == "cut":
            await asyncio.sleep(0.02)
            peer.reset()
        elif act.end == "silence":
            await self._gone(peer)
        elif act.streams:
            await peer.send(END)

    async def _gone(self, peer: Peer) -> None:
        await peer.gone()
        self.left.set()
        peer.close()


def misbehaving(chat: Behaviour) -> FaultServer:
    """A server that is well in every way but in chats; asked for a completion it fails too."""
    models = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()
    return FaultServer(
        {
            CHAT: chat,
            "/v1/completions": saying(whole(b"{}", b"500 no")),
            "/v1/models": saying(whole(models)),
            "/health": saying(whole(b"")),
            "/metrics": saying(whole(b"")),
            "/is_paused": saying(whole(b"{}", b"404 no")),
        }
    )


@asynccontextmanager
async def scripted(kind: str, *scripts: Any, **settings: Any):
    """A gateway before an endpoint for each script (an act, or several); gives both.

    `kind`: respx, or direct for the transport that is deployed over real sockets.
    """
    acts = [script if isinstance(script, tuple) else (script,) for script in scripts]
    settings = {
        "health": {"interval": 60, "interval_down": 60},
        "routing": {"strategy": "round_robin"},
    } | settings
    async with AsyncExitStack() as stack:
        endpoints: list[Any]
        through = None
        if kind == "respx":
            router = respx.MockRouter(assert_all_called=False)
            endpoints = [Mocked(router, number, *each) for number, each in enumerate(acts, start=1)]
            through = HttpxTransport(TransportOptions(), transport=httpx.MockTransport(router.async_handler))
        else:
            endpoints = [Listening(*each) for each in acts]
            for endpoint in endpoints:
                await endpoint.open(stack)
        rows = [at(endpoint, models=["tiny"]) for endpoint in endpoints]
        gateway = await stack.enter_async_context(running(rows, through=through, **settings))
        yield gateway, endpoints
