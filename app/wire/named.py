"""Streams of named events: Anthropic's messages and OpenAI's responses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from app.wire.edit import UNFINISHED, Fate, rename
from app.wire.usage import usage_of

if TYPE_CHECKING:
    from app.wire.meter import Meter


_DELTA = re.compile(rb"event: response\.[a-z_.]+\.delta\ndata: \{")


class MessageEvents:
    """Codec of the messages dialect: the prompt's count comes first, the completion's with the stop reason."""

    __slots__ = ("_begun", "_meter", "_model", "finish", "useful")

    def __init__(self, meter: Meter, *, model: str | None) -> None:
        self._meter = meter
        self._model = model
        self._begun: dict[str, Any] = {}
        self.finish: str | None = None
        self.useful = False

    @property
    def satisfied(self) -> bool:
        return self.finish is not None and self.finish not in UNFINISHED

    def splice(self, event: bytes) -> bytes | None:
        if not self.useful or not event.startswith(b"event: content_block_delta\ndata: {"):
            return None
        self._meter.events += 1
        return event

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        match content:
            case {"type": "message_start", "message": dict() as message}:
                return self._start(message)
            case {"type": "message_delta"}:
                self._finish(content)
            case {"type": "content_block_start", "content_block": {"type": "tool_use"}}:
                self.useful = True
            case {"type": "content_block_delta"}:
                self._meter.events += 1
                self.useful = self.useful or _says(content.get("delta"))
            case {"type": "message_stop"}:
                return Fate.END
        return Fate.KEEP

    def _start(self, message: dict[str, Any]) -> Fate:
        stated = message.get("usage")
        usage = self._meter.believe(usage_of("messages", stated))
        if usage is not None:
            self._meter.prompt = usage.prompt
            self._begun = dict(stated) if isinstance(stated, dict) else {}
        return Fate.EDITED if rename(message, self._model) else Fate.KEEP

    def _finish(self, content: dict[str, Any]) -> None:
        delta, stated = content.get("delta"), content.get("usage")
        if isinstance(delta, dict) and delta.get("stop_reason") is not None:
            self.finish = str(delta["stop_reason"])
            self.useful = self.useful or self.finish not in UNFINISHED
        if isinstance(stated, dict):
            stated = self._begun | stated
        self._meter.conclude(self._meter.believe(usage_of("messages", stated)))


class ResponseEvents:
    """Codec of the responses dialect: usage and end come with the last event, which holds the whole response."""

    __slots__ = ("_meter", "_model", "finish", "useful")

    def __init__(self, meter: Meter, *, model: str | None) -> None:
        self._meter = meter
        self._model = model
        self.finish: str | None = None
        self.useful = False

    @property
    def satisfied(self) -> bool:
        return self.finish in {"completed", "incomplete"}

    def splice(self, event: bytes) -> bytes | None:
        if not self.useful or not _DELTA.match(event):
            return None
        self._meter.events += 1
        return event

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        kind, response = str(content.get("type")), content.get("response")
        if kind.endswith(".delta"):
            self._meter.events += 1
            self.useful = self.useful or bool(content.get("delta"))
        elif kind.endswith(".done"):
            self.useful = True
        if not isinstance(response, dict):
            return Fate.KEEP
        edited = rename(response, self._model)
        self._meter.conclude(self._meter.believe(usage_of("responses", response.get("usage"))))
        if kind in {"response.completed", "response.incomplete"}:
            self.finish = str(response.get("status"))
            self.useful = True
            return Fate.END
        return Fate.EDITED if edited else Fate.KEEP


def _says(delta: Any) -> bool:
    """Whether a delta holds more than its type."""
    return isinstance(delta, dict) and any(value for key, value in delta.items() if key != "type")
