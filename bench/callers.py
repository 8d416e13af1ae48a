"""One connection that calls again and again, and what all of them saw."""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections import Counter
from collections.abc import Callable
from typing import cast

from bench.answers import MARK

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n0\r\n\r\n"
BACK_OFF = 0.01
"""Seconds before the call after one that failed."""


class Seen:
    """Since the window began; times in nanoseconds. `stamped`: look into every event for its age."""

    def __init__(self, stamped: bool = False) -> None:
        self.stamped = stamped
        self.clear()

    def clear(self) -> None:
        self.answers = self.events = self.short = 0
        self.errors: Counter[str] = Counter()
        self.first = array("q")
        self.whole = array("q")
        self.gaps = array("q")
        self.relayed = array("q")


class Caller(asyncio.Protocol):
    """Sends what `request` gives it; the next one when the answer is complete, until `request` says None.

    `heard`: it had the first event of a stream. `lost` is told when the connection is gone, by whichever side; the
    caller can be given another one.
    """

    def __init__(
        self, seen: Seen, request: Callable[[], bytes | None], lost: Callable[[], object] = lambda: None
    ) -> None:
        self._seen = seen
        self._request = request
        self._lost = lost
        self._head = b""
        self.waiting = False
        self.heard = False
        self._left: int | None = None
        self._status = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._call()

    @property
    def connected(self) -> bool:
        return not self._transport.is_closing()

    def close(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.waiting = False
            self._seen.errors["lost"] += 1
        self._lost()

    def _call(self) -> None:
        request = self._request()
        if request is None or self._transport.is_closing():
            return
        self._head, self._status, self._left, self._tail = b"", b"", None, b""
        self._last = 0
        self.waiting = True
        self._sent = time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._status:
            data = self._head + data if self._head else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._status = data[9:12]
            length = _LENGTH.search(data, 0, end)
            self._left = int(length[1]) if length else None
            data = data[end + 4 :]
        if self._left is None:
            self._stream(data)
        else:
            self._left -= len(data)
            if self._left <= 0:
                self._end()

    def _stream(self, data: bytes) -> None:
        if not data:
            return
        seen = self._seen
        now = time.monotonic_ns()
        if not self._tail:
            seen.first.append(now - self._sent)
            self.heard = True
        events = data.count(MARK) + (self._tail.endswith(MARK[:1]) and data.startswith(MARK[1:]))
        if events:
            seen.events += events
            if self._last:
                seen.gaps.append(now - self._last)
            self._last = now
            if seen.stamped:
                self._age(data, now)
        self._tail = data[-32:] if len(data) >= 32 else (self._tail + data)[-32:]
        if self._tail.endswith(_END):
            self._end(b"data: [DONE]" in self._tail)

    def _age(self, data: bytes, now: int) -> None:
        at = data.find(MARK)
        while at >= 0:
            stamp = data[at + 2 : at + 18]
            if len(stamp) == 16:
                self._seen.relayed.append(now - int(stamp, 16))
            at = data.find(MARK, at + 18)

    def _end(self, complete: bool = True) -> None:
        self.waiting = False
        if not complete:
            self._seen.short += 1
            self._call()
        elif self._status == b"200":
            self._seen.answers += 1
            self._seen.whole.append(time.monotonic_ns() - self._sent)
            self._call()
        else:
            self._seen.errors[self._status.decode()] += 1
            asyncio.get_running_loop().call_later(BACK_OFF, self._call)
