"""A caller on the other side of ASGI: sends one request, keeps what is sent back, may hang up."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Caller:
    """Speaks to an ASGI application without a socket."""

    def __init__(
        self,
        body: object = None,
        *,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        parts: list[bytes] | None = None,
        extension: Any = None,
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._parts = [raw] if parts is None else parts
        known = {"authorization": "Bearer sk-good", "content-type": "application/json"}
        merged = {k: v for k, v in (known | (headers or {})).items() if v is not None}
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in merged.items()],
            "client": ("192.0.2.7", 4711),
            "server": ("127.0.0.1", 9000),
        }
        if extension is not None:
            self.scope["extensions"] = {"sluice": extension}
        self._gone = asyncio.Event()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.arrived = asyncio.Event()

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.arrived.set()
        if message["type"] == "http.response.start":
            assert self.status is None, "one head a request"
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            assert self.status is not None
            assert not self.complete
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)

    async def ask(self, app: Any) -> Caller:
        await app(self.scope, self.receive, self.send)
        return self

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json()["error"]
