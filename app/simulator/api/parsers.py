"""Reply text taken apart: reasoning, content and tool calls, piece by piece as it comes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from app.simulator.engine.sequence import Output
from app.simulator.text.tokenizer import END

_OPEN, _CLOSE = "<think>", "</think>"
_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_CALL_NAME = re.compile(r'\{\s*"name":\s*"([^"]*)",\s*"arguments":\s*')


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a message: some content, some reasoning, a new tool call, or more of its arguments."""

    content: str | None = None
    reasoning: str | None = None
    call: int | None = None
    name: str | None = None
    arguments: str | None = None


class ReasoningParser:
    """Everything up to `</think>` is reasoning, also when it never comes. Counts its tokens, markers excepted."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.tokens = 0

    def feed(self, output: Output) -> tuple[str, str]:
        """The reasoning and the content in a piece of text."""
        if not self.active:
            return "", output.text
        for token in output.tokens:
            if token.raw == _CLOSE.encode():
                self.active = False
                break
            self.tokens += token is not END and token.raw != _OPEN.encode()
        reasoning, _, content = output.text.replace(_OPEN, "").partition(_CLOSE)
        return reasoning, content


class CallParser:
    """Hermes markup: text up to the first `<tool_call>` is content, then come calls and nothing else."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.calls = 0
        self._text = ""
        self._inside = False
        self._named = False
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._closed = False

    def feed(self, text: str) -> list[Delta]:
        if not self.active:
            return [Delta(content=text)] if text else []
        deltas: list[Delta] = []
        self._text += text
        if not self._inside:
            before, marker, rest = self._text.partition(_CALL)
            if before and not self.calls:
                deltas.append(Delta(content=before))
            self._text = rest if marker else ""
            self._inside = bool(marker)
            if not self._inside:
                return deltas
        if not self._named and not self._name(deltas):
            return deltas
        self._arguments(deltas)
        if self._closed and _CALL_END in self._text:
            rest = self._text.partition(_CALL_END)[2]
            self._text, self._inside, self._named, self._closed = "", False, False, False
            return deltas + (self.feed(rest) if rest else [])
        return deltas

    def _name(self, deltas: list[Delta]) -> bool:
        found = _CALL_NAME.search(self._text)
        if found is None:
            return False
        deltas.append(Delta(call=self.calls, name=found.group(1)))
        self.calls += 1
        self._text = self._text[found.end() :]
        self._named = True
        self._depth = 0
        return True

    def _arguments(self, deltas: list[Delta]) -> None:
        if self._closed:
            return
        text = self._text if self._depth else self._text.lstrip()
        end = 0
        for char in text:
            end += 1
            if char == '"' and not self._escaped:
                self._quoted = not self._quoted
            self._escaped = char == "\\" and not self._escaped
            if not self._quoted:
                self._depth += (char in "{[") - (char in "}]")
                if self._depth == 0:
                    self._closed = True
                    break
        if end:
            deltas.append(Delta(call=self.calls - 1, arguments=text[:end]))
        self._text = text[end:]


@dataclass(slots=True)
class Message:
    """A whole message, gathered from its deltas."""

    content: str = ""
    reasoning: str = ""
    calls: list[list[str]] = field(default_factory=list)
    """Name and arguments of each call."""

    def add(self, delta: Delta) -> None:
        self.content += delta.content or ""
        self.reasoning += delta.reasoning or ""
        if delta.name is not None:
            self.calls.append([delta.name, ""])
        if delta.arguments is not None:
            self.calls[-1][1] += delta.arguments


class ChoiceParser:
    """Both parsers in a row, for one choice."""

    def __init__(self, *, reasoning: bool, calls: bool, shows_reasoning: bool = True) -> None:
        self.thinking = ReasoningParser(active=reasoning)
        self.calling = CallParser(active=calls)
        self._shows_reasoning = shows_reasoning

    def feed(self, output: Output) -> list[Delta]:
        reasoning, content = self.thinking.feed(output)
        deltas = [Delta(reasoning=reasoning)] if reasoning and self._shows_reasoning else []
        return deltas + self.calling.feed(content)
