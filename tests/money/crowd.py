"""Callers of many tenants, in turn, from a process of their own: `python -m tests.money.crowd`.

Each line it reads is a round, each line it writes the seconds that the round took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle

import uvloop

from tests.house import chat
from tests.rawcaller import post

BODY = json.dumps(chat("y" * 900, max_tokens=100)).encode()


@dataclass(frozen=True)
class Round:
    """`requests` over `connections`, with keys in turn; `rate` a second, or without a pause."""

    port: int
    keys: list[str]
    requests: int
    connections: int
    rate: float | None = None


@dataclass
class Crowd:
    """Keeps its place among the keys from one round to the next."""

    _turns: dict[int, cycle] = field(default_factory=dict)

    async def run(self, wanted: Round) -> float:
        turn = self._turns.setdefault(len(wanted.keys), cycle(wanted.keys))
        requests = (request(next(turn)) for _ in range(wanted.requests))
        began = time.perf_counter()
        due = (began + n / wanted.rate if wanted.rate else began for n in range(wanted.requests))
        work = zip(due, requests, strict=True)
        await asyncio.gather(*[caller(wanted.port, work) for _ in range(wanted.connections)])
        return time.perf_counter() - began


def request(key: str) -> bytes:
    return post(
        "/v1/chat/completions", BODY, f"Authorization: Bearer {key}", "Content-Type: application/json"
    )


async def caller(port: int, work) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for due, asked in work:
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
    writer.close()


async def main() -> None:
    crowd = Crowd()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await crowd.run(Round(**json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
