"""Server-sent events: framing only, at C speed for the streams that vLLM writes."""

from __future__ import annotations

from app.core.failures import StreamBroken

_BOM = b"\xef\xbb\xbf"
CR = 0x0D
MAX_EVENT = 1024 * 1024


class Events:
    """Cuts a byte stream into events, wherever the bytes were split.

    LF, CRLF and lone CR end lines; events come out with LF and without their blank line. An event over
    `max_event` bytes raises StreamBroken, and memory never holds much more than that. While it is `plain`
    nothing waits for more: a chunk that is one event with LF, and no larger, need not be fed.
    """

    __slots__ = ("_after_cr", "_fresh", "_tail", "max_event", "plain")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.max_event = max_event
        self._tail = bytearray()
        self._after_cr = False
        self._fresh = True
        self.plain = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events completed by `chunk`. Comments are events too; an event may begin with spare line ends."""
        if self.plain and chunk.endswith(b"\n\n") and CR not in chunk and len(chunk) <= self.max_event:
            if chunk.find(b"\n") == len(chunk) - 2:
                return [chunk[:-2]]
            events = chunk.split(b"\n\n")
            events.pop()
            return events
        events = self._feed(chunk)
        self.plain = not (self._tail or self._after_cr or self._fresh)
        return events

    def _feed(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        tail = self._tail
        known = max(0, len(tail) - 1)
        tail += chunk
        if self._fresh:
            if _BOM.startswith(tail[:3]):
                if len(tail) < len(_BOM):  # the rest of the mark may still come
                    return []
                del tail[:3]
            self._fresh = False
            known = 0
        end = tail.rfind(b"\n\n", known)
        if end < 0:
            self._check(len(tail))
            return []
        events = bytes(tail[:end]).split(b"\n\n")
        del tail[: end + 2]
        self._check(len(max(events, key=len)), len(tail))
        return events

    def _check(self, *sizes: int) -> None:
        if max(sizes) > self.max_event:
            self._tail.clear()
            raise StreamBroken(reason="event_too_large")


def data_of(event: bytes) -> bytes | None:
    """What the event's data lines say, joined by LF; None when there is none, as in a comment."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [_value(line) for line in event.split(b"\n") if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines) if lines else None


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data and its other lines as they were. It has data; `data` has no line ends."""
    if b"\n" not in event:
        return b"data: " + data
    kept = [line for line in event.split(b"\n") if not (line.startswith(b"data:") or line == b"data")]
    return b"\n".join([*kept, b"data: " + data])


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")
