"""Ways for bytes to leave a connection that no healthy server would choose."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from app.simulator.http.exchange import Line

_HEAD_END = b"\r\n\r\n"


class Coalesced:
    """Holds events back until `size` of them leave in one packet."""

    def __init__(self, line: Line, size: int) -> None:
        self._line = line
        self._size = size
        self._held: list[bytes] = []

    def write(self, raw: bytes) -> None:
        if raw.startswith(b"HTTP/1.1"):
            self._line.write(raw)
            return
        self._held.append(raw)
        if len(self._held) >= self._size:
            self._release()

    def drain(self, then: Callable[[], None]) -> None:
        self._release()
        then()

    def _release(self) -> None:
        held, self._held = self._held, []
        if held:
            self._line.write(b"".join(held))


class Dripping:
    """Sends what `cut` makes of each write piece by piece, each `delay` seconds after the one before."""

    def __init__(self, line: Line, cut: Callable[[bytes], list[bytes]], delay: float) -> None:
        self._line = line
        self._cut = cut
        self._delay = delay
        self._queue: deque[bytes | Callable[[], None]] = deque()
        self._busy = False

    def write(self, raw: bytes) -> None:
        self._queue.extend(self._cut(raw))
        self._wake()

    def drain(self, then: Callable[[], None]) -> None:
        self._queue.append(then)
        self._wake()

    def _wake(self) -> None:
        if not self._busy:
            self._drip()

    def _drip(self) -> None:
        self._busy = bool(self._queue)
        if not self._queue:
            return
        item = self._queue.popleft()
        if isinstance(item, bytes):
            self._line.write(item)
            self._line.loop.call_later(self._delay, self._drip)
        else:
            item()
            self._drip()


def fragments(size: int) -> Callable[[bytes], list[bytes]]:
    """Cuts everything into pieces of `size` bytes."""
    return lambda raw: [raw[at : at + size] for at in range(0, len(raw), size)]


def inside_characters(raw: bytes) -> list[bytes]:
    """Cuts after the first byte of every character that has more than one."""
    pieces: list[bytes] = []
    start = 0
    for at, value in enumerate(raw):
        if value >= 0xC0:
            pieces.append(raw[start : at + 1])
            start = at + 1
    return [*pieces, raw[start:]]


def head_only(raw: bytes) -> list[bytes]:
    """Cuts a head into single bytes and leaves bodies whole."""
    if not raw.startswith(b"HTTP/1.1"):
        return [raw]
    end = raw.index(_HEAD_END) + len(_HEAD_END)
    pieces = [raw[at : at + 1] for at in range(end)]
    return [*pieces, raw[end:]] if raw[end:] else pieces
