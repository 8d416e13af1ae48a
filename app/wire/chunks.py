"""Chat and text completion chunks: ordinary ones are edited by splicing bytes, the others decoded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from app.wire.body import encode
from app.wire.edit import UNFINISHED, Fate, rename
from app.wire.usage import RUNNING, usage_of

if TYPE_CHECKING:
    from app.core.surface import Dialect
    from app.wire.meter import Meter
    from app.wire.request import UsageWanted

# vLLM's compact JSON in vLLM's order of keys. A quote inside a string is always escaped, so no text that a
# model writes can look like a key.
_HEAD = re.compile(
    rb'data: \{"id":"[^"\\]*","object":"[a-z._]+","created":\d+,'
    rb'"model":("(?:[^"\\]|\\.)*"),"choices":\[\{"index":'
)
_FINISH = b'"finish_reason":'
_OPEN = b'"finish_reason":null'
_CONTENT = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal")


class Chunks:
    """Codec of both OpenAI completion dialects.

    All events of a stream begin with the same bytes, up to the choice's index. Once they were seen, an
    event that begins so, continues a known choice and neither finishes it nor shows an unknown form of usage
    is spliced; every other one is decoded. `choices`: how many the caller asked for in all.
    """

    __slots__ = (
        "_choices",
        "_dialect",
        "_head",
        "_meter",
        "_model",
        "_new_head",
        "_wanted",
        "finish",
        "useful",
    )

    def __init__(
        self, dialect: Dialect, meter: Meter, *, model: str | None, wanted: UsageWanted, choices: int
    ) -> None:
        self._dialect: Dialect = dialect
        self._meter = meter
        self._model = model
        self._wanted: UsageWanted = wanted
        self._choices = choices
        self._head = self._new_head = b"\0"
        self.finish: str | None = None
        self.useful = False

    @property
    def satisfied(self) -> bool:
        choices = self._meter.choices.values()
        unfinished = [choice for choice in choices if choice.finish is None or choice.finish in UNFINISHED]
        return len(choices) >= self._choices and not unfinished

    def splice(self, event: bytes) -> bytes | None:
        head = self._head
        if not event.startswith(head):
            return None
        start = len(head)
        meter = self._meter
        choice = meter.choices.get(event[start : event.find(b",", start)])
        finish = event.find(_OPEN, start)
        if choice is None or finish < 0 or event.count(_FINISH, start) != 1:
            return None
        usage = event.rfind(b'"usage":', finish) - 1
        if usage > 0:
            stated = RUNNING.match(event, usage)
            if stated is None:
                return None
            completion = int(stated[2])
            if choice.completion <= completion <= meter.ceiling:
                choice.completion = completion
                choice.stated = stated
            else:
                meter.forged = True
            if self._wanted != "continuous":
                meter.events += 1
                return self._new_head + event[start:usage] + event[stated.end() :]
        meter.events += 1
        return event if head is self._new_head else self._new_head + event[start:]

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        self._learn(event)
        edited = rename(content, self._model)
        stated = content.get("usage")
        usage = self._meter.believe(usage_of(self._dialect, stated))
        choices = content.get("choices")
        if not choices and stated is not None:
            self._meter.conclude(usage)
            if self._wanted == "none":
                return Fate.DROP
        elif isinstance(choices, list):
            finishes = list(map(self._note, choices))
            if usage is not None:
                self._meter.state(_index(choices[0]), usage)
            if not UNFINISHED.isdisjoint(finishes):
                return Fate.DROP
            if stated is not None and self._wanted != "continuous":
                del content["usage"]
                edited = True
        return Fate.EDITED if edited else Fate.KEEP

    def _note(self, content: Any) -> str | None:
        """The reason why the choice finished, if it did."""
        if not isinstance(content, dict):
            return None
        choice = self._meter.choice(_index(content))
        finish = content.get("finish_reason")
        if finish is not None:
            choice.finish = finish = str(finish)
            if self.finish not in UNFINISHED:
                self.finish = finish
            if finish not in UNFINISHED:
                self.useful = True
        delta = content.get("delta")
        if content.get("text") or (isinstance(delta, dict) and any(map(delta.get, _CONTENT))):
            self._meter.events += 1
            self.useful = True
        elif not self.useful:
            self.useful = _tells(content, delta)
        return finish

    def _learn(self, event: bytes) -> None:
        head = None if event.startswith(self._head) else _HEAD.match(event)
        if head is None:
            return
        self._head = self._new_head = head[0]
        if self._model is not None:
            name = encode(self._model)
            if name != head[1]:
                self._new_head = event[: head.start(1)] + name + event[head.end(1) : head.end()]


def _tells(choice: dict[str, Any], delta: Any) -> bool:
    """Whether a choice without text shows that the model is at work: in a field nobody here knows, too."""
    if choice.get("logprobs") or choice.get("token_ids"):
        return True
    if isinstance(delta, dict):
        for key, value in delta.items():
            if value and key != "role":
                return True
    return False


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if type(index) is int else 0
