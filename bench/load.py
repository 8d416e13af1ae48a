"""Callers in a closed loop, warm first, then watched for a while.

    python -m bench.load --port 9000 [--connections 64] [--stream] [--keys FILE] [--pid PID]

Prints one line of JSON: counts, rates, times in seconds, and CPU nanoseconds of the process `--pid` with its children.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.callers import BACK_OFF, Caller, Seen
from bench.cpu import between, rss, spent
from bench.figures import percentile

AT_ONCE = 64
"""Connections that are opened at the same time."""


def request(key: str, stream: bool, tokens: int, size: int) -> bytes:
    """A chat completion with a prompt that makes the body `size` bytes long, if it is not longer anyway."""
    fields: dict[str, Any] = {"model": "qwen3-8b", "max_tokens": tokens}
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    fields["messages"] = [{"role": "user", "content": ""}]
    empty = len(json.dumps(fields, separators=(",", ":")))
    fields["messages"] = [{"role": "user", "content": "word " * max(1, (size - empty) // 5)}]
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Crowd:
    """The connections. With streams, first ones of all lengths spread the ends evenly from the beginning."""

    def __init__(self, chosen: argparse.Namespace, keys: list[str]) -> None:
        self.seen = Seen(chosen.stamped)
        self._finishing = False
        self._chosen = chosen
        self._keys = keys
        self._requests = itertools.cycle([self._written(key, chosen.tokens) for key in keys])
        self._callers: list[Caller] = []
        self._opening: set[asyncio.Task[None]] = set()

    def _written(self, key: str, tokens: int) -> bytes:
        return request(key, self._chosen.stream, tokens, self._chosen.body)

    def _of(self, number: int) -> Iterator[bytes]:
        chosen = self._chosen
        if chosen.stream:
            part = 1 + number * chosen.tokens // chosen.connections
            yield self._written(self._keys[number % len(self._keys)], part)
        yield from self._requests

    async def gather(self) -> None:
        numbers = range(self._chosen.connections)
        for begin in range(0, len(numbers), AT_ONCE):
            await asyncio.gather(*(self._join(number) for number in numbers[begin : begin + AT_ONCE]))

    async def _join(self, number: int) -> None:
        mine = self._of(number)

        def again() -> None:
            if not self._finishing:
                opening = loop.create_task(self._open(caller, BACK_OFF))
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)

        loop = asyncio.get_running_loop()
        caller = Caller(self.seen, lambda: None if self._finishing else next(mine), again)
        await self._open(caller)
        self._callers.append(caller)

    async def _open(self, caller: Caller, after: float = 0.0) -> None:
        """Until it succeeds: the crowd stays as large as it was."""
        await asyncio.sleep(after)
        loop = asyncio.get_running_loop()
        while not self._finishing:
            try:
                await loop.create_connection(lambda: caller, "127.0.0.1", self._chosen.port)
                return
            except OSError:
                self.seen.errors["refused"] += 1
                await asyncio.sleep(BACK_OFF)

    async def begun(self, patience: float = 10.0) -> None:
        """Every stream has had its first event, or one of them had not within so many seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while self._chosen.stream and loop.time() < end and not all(caller.heard for caller in self._callers):
            await asyncio.sleep(0.01)

    async def finish(self) -> None:
        """No more calls; done when the last ones have ended."""
        self._finishing = True
        while any(caller.waiting for caller in self._callers):
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._finishing = True
        await asyncio.gather(*self._opening)
        for caller in self._callers:
            caller.close()

    @property
    def open(self) -> int:
        return sum(caller.connected for caller in self._callers)


def report(seen: Seen, seconds: float) -> dict[str, Any]:
    """Times in seconds."""
    found: dict[str, Any] = {
        "seconds": seconds,
        "requests": seen.answers,
        "events": seen.events,
        "errors": sum(seen.errors.values()),
        "kinds": dict(seen.errors),
        "short": seen.short,
        "requests_per_second": seen.answers / seconds,
        "events_per_second": seen.events / seconds,
    }
    for name in ("first", "whole", "gaps", "relayed"):
        values = getattr(seen, name)
        for share in (50, 99):
            found[f"{name}_p{share}"] = percentile(values, share) / 1e9
        found[f"{name}_max"] = max(values, default=0) / 1e9
    return found


async def measure(chosen: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    crowd = Crowd(chosen, keys)
    begun = loop.time()
    await crowd.gather()
    if not chosen.entire:
        await crowd.begun()
        await asyncio.sleep(chosen.warm_up)
        crowd.seen.clear()
        begun = loop.time()
    watched = {"load": [os.getpid(), *chosen.beside], "target": [chosen.pid] if chosen.pid else []}
    before = {name: spent(*pids) for name, pids in watched.items()}
    await asyncio.sleep(chosen.seconds)
    if chosen.entire:
        await crowd.finish()
    seconds = loop.time() - begun
    cpu = {name: between(before[name], spent(*pids)) for name, pids in watched.items()}
    found = report(crowd.seen, seconds)
    if chosen.pid:
        found |= {"cpu_ns": cpu["target"], "rss": rss(chosen.pid)}
    found |= {"load_busy": cpu["load"] / 1e9 / seconds, "open": crowd.open}
    await crowd.close()
    return found


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument(
        "--entire", action="store_true", help="count from the first call to the last one's end"
    )
    parser.add_argument("--stamped", action="store_true", help="read the time of writing out of every event")
    parser.add_argument("--tokens", type=int, default=128, help="events in a stream")
    parser.add_argument("--body", type=int, default=1024, help="bytes of a request")
    parser.add_argument("--keys", type=Path, help="JSON list of API keys, taken in turn")
    parser.add_argument("--pid", type=int, help="process whose CPU time is read")
    parser.add_argument("--beside", type=int, nargs="*", default=[], help="processes that feed the target")
    return parser.parse_args(words)


def main() -> None:
    chosen = arguments()
    keys = json.loads(chosen.keys.read_text()) if chosen.keys else ["none"]
    print(json.dumps(uvloop.run(measure(chosen, keys))), flush=True)


if __name__ == "__main__":
    main()
