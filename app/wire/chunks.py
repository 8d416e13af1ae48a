"""Chat and text completion chunks: ordinary ones are edited by splicing bytes, the others decoded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from app.wire.body import encode
from app.wire.edit import UNFINISHED, Fate, rename
from app.wire.usage import RUNNING, usage_of

if TYPE_CHECKING:
    from app.core.surface import Dialect
    from app.wire.meter import Choice, Meter
    from app.wire.request import UsageWanted

# vLLM's compact JSON in vLLM's order of keys. A quote inside a string is always escaped, so no text that a
# model writes can look like a key.
_PREFIX = re.compile(
    rb'data: \{"id":"[^"\\]*","object":"[a-z._]+","created":\d+,'
    rb'"model":("(?:[^"\\]|\\.)*"),"choices":\[\{"index":'
)
_NO_EVENT = b"\n\n\n"
"""None begins so."""
_FINISH = b'"finish_reason":'
_OPEN = b'"finish_reason":null'
_CONTENT = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal")


class Chunks:
    """Codec of both OpenAI completion dialects.

    All events of a stream begin with the same bytes, up to the choice's index; all of one choice up to what
    follows that. Once they were seen, an event that begins so, continues a known choice and neither finishes
    it nor shows an unknown form of usage is spliced; every other one is decoded. `choices`: how many the
    caller asked for in all.
    """

    __slots__ = (
        "_choice",
        "_choices",
        "_dialect",
        "_head",
        "_hides_final",
        "_hides_usage",
        "_meter",
        "_model",
        "_new_head",
        "_new_prefix",
        "_prefix",
        "finish",
        "useful",
    )

    def __init__(
        self, dialect: Dialect, meter: Meter, *, model: str | None, wanted: UsageWanted, choices: int
    ) -> None:
        self._dialect: Dialect = dialect
        self._meter = meter
        self._model = model
        self._hides_usage = wanted != "continuous"
        self._hides_final = wanted == "none"
        self._choices = choices
        self._prefix = self._new_prefix = self._head = self._new_head = _NO_EVENT
        self._choice: Choice
        self.finish: str | None = None
        self.useful = False

    @property
    def satisfied(self) -> bool:
        choices = self._meter.choices.values()
        unfinished = [choice for choice in choices if choice.finish is None or choice.finish in UNFINISHED]
        return len(choices) >= self._choices and not unfinished

    def splice(self, event: bytes) -> bytes | None:
        if not event.startswith(self._head) and not self._turn(event):
            return None
        start = len(self._head)
        meter, choice = self._meter, self._choice
        finish = event.find(_OPEN, start)
        if finish < 0 or event.count(_FINISH, start) != 1:
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
            if self._hides_usage:
                meter.events += 1
                return self._new_head + event[start:usage] + event[stated.end() :]
        meter.events += 1
        return event if self._head is self._new_head else self._new_head + event[start:]

    def _turn(self, event: bytes) -> bool:
        """To the choice of an event that is not of the same one as the event before; False: not a known one."""
        if not event.startswith(self._prefix):
            return False
        start = len(self._prefix)
        end = event.find(b",", start)
        choice = self._meter.choices.get(event[start:end])
        if choice is None:
            return False
        self._choice = choice
        self._head = self._new_head = event[: end + 1]
        if self._new_prefix is not self._prefix:
            self._new_head = self._new_prefix + event[start : end + 1]
        return True

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        self._learn(event)
        edited = rename(content, self._model)
        stated = content.get("usage")
        usage = None if stated is None else self._meter.believe(usage_of(self._dialect, stated))
        choices = content.get("choices")
        if not choices and stated is not None:
            self._meter.conclude(usage)
            if self._hides_final:
                return Fate.DROP
        elif isinstance(choices, list):
            finishes = list(map(self._note, choices))
            if usage is not None:
                self._meter.state(_index(choices[0]), usage)
            if not UNFINISHED.isdisjoint(finishes):
                return Fate.DROP
            if stated is not None and self._hides_usage:
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
        head = None if event.startswith(self._prefix) else _PREFIX.match(event)
        if head is None:
            return
        self._prefix = self._new_prefix = head[0]
        if self._model is not None:
            name = encode(self._model)
            if name != head[1]:
                self._new_prefix = event[: head.start(1)] + name + event[head.end(1) : head.end()]


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
