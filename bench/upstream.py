"""An endpoint that costs next to nothing: JSON at once, streams at a pace, as many events as `max_tokens` says.

    python -m bench.upstream [--endpoints 2] [--interval 0.02] [--step]

Prints one line, {"ports": [...]}, and serves until it is terminated. GET /stats counts connections, requests, events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from typing import NamedTuple, cast

import uvloop

from bench.answers import COMPLETION, MODELS, OTHER, STREAM_HEAD, content, ending, opening, whole
from bench.pace import Pace

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_STREAM = re.compile(rb'"stream": ?true')
_EXACT = re.compile(rb'"continuous_usage_stats": ?true')


class Endpoint(asyncio.Protocol):
    """One connection: a request after the other, events when the pace says so."""

    def __init__(self, pace: Pace, stats: dict[str, int]) -> None:
        self._pace = pace
        self._stats = stats
        self._buffer = b""
        self._lacking = 0
        self._written = self._total = 0
        self._exact = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._file = transport.get_extra_info("socket").fileno()
        self._stats["connections"] += 1
        self._stats["open"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._stats["open"] -= 1
        self._pace.leave(self)

    def pause_writing(self) -> None:
        self._paused = True
        self._pace.leave(self)

    def resume_writing(self) -> None:
        self._paused = False
        if self._total:
            self._pace.join(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._lacking -= len(data)
        if self._lacking > 0 or (end := self._buffer.find(b"\r\n\r\n")) < 0:
            return
        head, body = self._buffer[:end], self._buffer[end + 4 :]
        length = _LENGTH.search(head)
        self._lacking = int(length[1]) - len(body) if length else 0
        if self._lacking <= 0:
            self._buffer = b""
            self._stats["requests"] += 1
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"POST"):
            path = head.split(b" ", 2)[1]
            known = {b"/v1/models": MODELS, b"/stats": whole(self._stats)}
            self._transport.write(known.get(path, OTHER))
        elif _STREAM.search(body) is None:
            self._transport.write(COMPLETION)
        else:
            tokens = _TOKENS.search(body)
            self._exact = _EXACT.search(body) is not None
            self._written, self._total = 0, int(tokens[1]) if tokens else 128
            # An engine tells its role with the first token.
            self._write(STREAM_HEAD + opening(self._exact) + self._event())
            if self._total and not self._paused:
                self._pace.join(self)

    def tick(self) -> None:
        self._write(self._event())

    def _event(self) -> bytes:
        """The next event; the last one with the end."""
        before, after = content(self._written + 1 if self._exact else 0)
        self._written += 1
        self._stats["events"] += 1
        event = b"%s%016x%s" % (before, time.monotonic_ns(), after)
        if self._written == self._total:
            self._pace.leave(self)
            self._total = 0
            event += ending(self._written)
        return event

    def _write(self, some: bytes) -> None:
        """At once, past the loop's queue: the time in the event is then that of its writing."""
        try:
            sent = os.write(self._file, some)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            return
        if sent < len(some):
            self._transport.write(some[sent:])


class Served(NamedTuple):
    """`stats` is what GET /stats tells."""

    servers: list[asyncio.Server]
    ports: list[int]
    stats: dict[str, int]


async def serve(endpoints: int, interval: float, step: bool) -> Served:
    """`interval` in seconds, 0 for events back to back."""
    loop = asyncio.get_running_loop()
    pace = Pace(interval, step)
    stats = dict.fromkeys(("connections", "open", "requests", "events"), 0)
    servers = [
        await loop.create_server(lambda: Endpoint(pace, stats), "127.0.0.1", 0, backlog=8192)
        for _ in range(endpoints)
    ]
    return Served(servers, [server.sockets[0].getsockname()[1] for server in servers], stats)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=2)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between events; inf for none")
    parser.add_argument("--step", action="store_true", help="all streams at the same moment")
    chosen = parser.parse_args()
    served = await serve(chosen.endpoints, chosen.interval, chosen.step)
    print(json.dumps({"ports": served.ports}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
