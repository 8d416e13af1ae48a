"""What a caller has seen of a stream of completion chunks, found out when somebody asks."""

from __future__ import annotations

from typing import Any

from app.wire.body import decode_answer
from app.wire.sse import data_of

UNREAD = 16 * 1024
"""Bytes that are kept as they came; beyond it their text alone is kept."""

_HEAD = ("id", "object", "created", "model")


class Delivered:
    """Told of the bytes that go to the caller, which are whole events; reads them late, most streams never."""

    __slots__ = ("_finish", "_head", "_other", "_pieces", "_unread", "_usage")

    def __init__(self) -> None:
        self._unread = bytearray()
        self._pieces: list[str] = []
        self._head: dict[str, Any] = {}
        self._finish: str | None = None
        self._other = False
        self._usage = False

    def note(self, events: bytes) -> None:
        self._unread += events
        if len(self._unread) > UNREAD:
            self._read()

    @property
    def text(self) -> str:
        self._read()
        text = "".join(self._pieces)
        self._pieces = [text]
        return text

    @property
    def head(self) -> dict[str, Any]:
        """What every event of the stream begins with: id, object, created, model."""
        self._read()
        return self._head

    @property
    def finish(self) -> str | None:
        """The finish reason, once the caller has it."""
        self._read()
        return self._finish

    @property
    def usage_told(self) -> bool:
        """The final usage has been sent."""
        self._read()
        return self._usage

    @property
    def text_alone(self) -> bool:
        """All of it was the text of one choice: no reasoning, no tool call, nothing that cannot be read."""
        self._read()
        return not self._other

    def _read(self) -> None:
        raw, self._unread = bytes(self._unread), bytearray()
        for event in raw.split(b"\n\n"):
            data = data_of(event)
            if not data or data == b"[DONE]":
                continue
            try:
                self._take(decode_answer(data))
            except ValueError:  # an ordinary event is passed on without a look at all of it
                self._other = True

    def _take(self, content: dict[str, Any]) -> None:
        if not self._head:
            self._head = {name: content[name] for name in _HEAD if name in content}
        choices = content.get("choices")
        if not isinstance(choices, list):
            self._other = True
        elif not choices:
            self._usage = content.get("usage") is not None
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                self._other = True
                continue
            self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> None:
        if choice.get("finish_reason") is not None:
            self._finish = str(choice["finish_reason"])
        written = choice.get("text")
        for name, value in (choice.get("delta") or {}).items():
            if name == "content":
                written = value
            elif name != "role" and value:
                self._other = True
        if choice.get("logprobs") or choice.get("token_ids"):
            self._other = True
        if isinstance(written, str):
            self._pieces.append(written)
