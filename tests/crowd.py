"""Callers that ask several gateways without a pause, and remember what they were told."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.house import chat
from tests.rawcaller import RawCaller, post
from tests.supervised import SOON, Supervised

DONE = b"data: [DONE]\n\n"
BROKEN = (OSError, EOFError)


@dataclass
class Customer:
    """A tenant and its key."""

    tenant: str
    key: str
    secret: str

    def request(self, content: str = "short", **fields: Any) -> bytes:
        body = json.dumps(chat(content, **fields)).encode()
        headers = (f"Authorization: Bearer {self.secret}", "Content-Type: application/json")
        return post("/v1/chat/completions", body, *headers)

    def get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {self.secret}\r\n\r\n".encode()


async def connected(gateway: Supervised) -> RawCaller:
    return RawCaller(*await asyncio.open_connection("127.0.0.1", gateway.data))


@dataclass
class Crowd:
    """Callers that ask all gateways without a pause, half of them for streams; who is cut off comes again.

    `answered` counts by gateway and status; `whole` are the calls whose last byte somebody saw, with the
    completion tokens it was told, if any; `begun` those of which somebody saw a first byte.
    """

    gateways: list[Supervised]
    customer: Customer
    fields: dict[str, Any] = field(default_factory=dict)
    contents: tuple[str, ...] = ("5 tokens",)
    answered: Counter[tuple[int, int]] = field(default_factory=Counter)
    whole: dict[str, int | None] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    other: list[int] = field(default_factory=list)
    cut: int = 0
    slowest: float = 0.0
    began: float = field(default_factory=time.monotonic)
    _tired: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accepted(self) -> int:
        return len(self.begun)

    @property
    def refused(self) -> int:
        return len(self.other)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @asynccontextmanager
    async def asking(self, callers: int):
        """So many at each gateway; at the end every call has been answered."""
        self.began = time.monotonic()
        self._tired.clear()
        async with asyncio.TaskGroup() as group:
            for place in range(len(self.gateways)):
                for number in range(callers):
                    group.create_task(self._caller(place, number))
            try:
                async with asyncio.timeout(SOON):
                    yield self
            finally:
                self._tired.set()

    async def more(self, *, accepted: int = 0, refused: int = 0) -> None:
        """Until so many more have been."""
        goal = self.accepted + accepted, self.refused + refused
        async with asyncio.timeout(SOON):
            while self.accepted < goal[0] or self.refused < goal[1]:
                await asyncio.sleep(0.005)

    async def _caller(self, place: int, number: int) -> None:
        turn = number
        while not self._tired.is_set():
            caller = None
            try:
                caller = await connected(self.gateways[place])
                while not self._tired.is_set():
                    turn += 1
                    content = self.contents[turn % len(self.contents)]
                    caller.say(self.customer.request(content, stream=turn % 2 == 0, **self.fields))
                    await self._hear(caller, place)
            except BROKEN:
                self.cut += 1
            finally:
                if caller is not None:
                    caller.hang_up()

    async def _hear(self, caller: RawCaller, place: int) -> None:
        asked = time.monotonic()
        async with asyncio.timeout(SOON):
            head = (await caller.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            status = int(head[0].split(" ")[1])
            headers = dict(line.split(": ", 1) for line in head[1:-2])
            if status == 200:
                self.begun.add(headers["x-request-id"])
            body = await caller._body(status, headers)
        self.slowest = max(self.slowest, time.monotonic() - asked)
        self.answered[place, status] += 1
        if status != 200:
            self.other.append(status)
        elif headers["content-type"].startswith("application/json"):
            self.whole[headers["x-request-id"]] = json.loads(body)["usage"]["completion_tokens"]
        else:
            assert body.endswith(DONE), body
            self.whole[headers["x-request-id"]] = None
