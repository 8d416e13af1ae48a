"""Pretended vLLM servers that answer probes and scrapes without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import httpx

from app.upstream.control import ControlPlane
from tests.clock import FakeClock


@dataclass
class Engine:
    """Answers as told; `None` for a status means that nothing is listening."""

    health: int | None = 200
    models: tuple[str, ...] | None = ("m",)
    completion: object = "stop"
    metrics: str = ""
    paused: object = None
    hanging: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        self.headers.append(request.headers)
        if path in self.hanging:
            await asyncio.get_running_loop().create_future()
        if self.health is None or path in self.broken:
            raise httpx.ConnectError("refused", request=request)
        if path == "/health":
            return httpx.Response(self.health)
        if path == "/v1/models":
            if self.models is None:
                return httpx.Response(401, json={"error": "Unauthorized"})
            return httpx.Response(200, json={"object": "list", "data": [{"id": m} for m in self.models]})
        if path == "/is_paused":
            known = self.paused is not None
            return httpx.Response(200 if known else 404, json={"is_paused": self.paused} if known else {})
        if path == "/metrics":
            return httpx.Response(200, text=self.metrics)
        self.bodies.append(request.content)
        return self._complete()

    def _complete(self) -> httpx.Response:
        if isinstance(self.completion, int):
            return httpx.Response(self.completion, json={"detail": "Not Found"})
        if isinstance(self.completion, bytes):
            return httpx.Response(200, content=self.completion)
        return httpx.Response(200, content=json.dumps({"choices": [{"finish_reason": self.completion}]}))


class Engines(dict):
    """By host name; also the transport that reaches them."""

    def __missing__(self, name: str) -> Engine:
        self[name] = Engine()
        return self[name]

    def control(self, clock: FakeClock) -> ControlPlane:
        async def reach(request: httpx.Request) -> httpx.Response:
            return await self[request.url.host](request)

        return ControlPlane(clock, lambda tls: httpx.AsyncClient(transport=httpx.MockTransport(reach)))
