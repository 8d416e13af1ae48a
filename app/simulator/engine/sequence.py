"""One sequence in the engine: what it reads, what it says next, and when it stops."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

from app.simulator.text.replies import Script
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import END, Token


@dataclass(slots=True)
class Output:
    """What one or more engine steps added to a sequence. Merging keeps order and loses nothing."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    stop: str | int | None = None

    def merge(self, later: Output) -> None:
        self.text += later.text
        self.tokens += later.tokens
        self.finish, self.stop = later.finish, later.stop


@dataclass(frozen=True, slots=True)
class Limits:
    """When a sequence stops, besides the end of its reply."""

    tokens: int
    strings: tuple[str, ...] = ()
    ids: frozenset[int] = frozenset()
    minimum: int = 0
    ignores_end: bool = False
    keeps_stop: bool = False


class Sequence:
    """Produces its reply token by token. Text that may turn out to be part of a stop string, and bytes that are only
    part of a character, are held back until they are sure.
    """

    def __init__(
        self,
        prompt: Prompt,
        script: Script,
        limits: Limits,
        listener: Callable[[Sequence, Output], None],
        *,
        index: int = 0,
        priority: int = 0,
    ) -> None:
        self.prompt = prompt
        self.limits = limits
        self.listener = listener
        self.index = index
        self.priority = priority
        self.generated = 0
        self.cached_tokens = 0
        self.created_tokens = 0
        self.arrived = 0.0
        self.scheduled: float | None = None
        self.first_token: float | None = None
        self.last_token = 0.0
        self.due = 0.0
        self.ticket = 0
        self.preemptions = 0
        self.finish: str | None = None
        self.held = False
        self._tokens = script.play()
        self._speaks = script.tokens[0] is not END
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._unsaid = ""
        self._withheld = max((len(string) for string in limits.strings), default=1) - 1

    @property
    def length(self) -> int:
        """Tokens in the KV cache: prompt and what was generated."""
        return self.prompt.count + self.generated

    def step(self) -> Output:
        """The next token; `finish` is set on the last one."""
        if self.limits.tokens == 0:
            self.finish = "length"
            return Output(finish="length")
        token = next(self._tokens)
        while token is END and self._speaks and self._goes_on:
            token = next(self._tokens)
        self.generated += 1
        output = Output(tokens=[token])
        if token is END:
            output.finish = "stop"
        else:
            self._unsaid += self._utf8.decode(token.raw)
            self._stop(token, output)
        if output.finish is None and self.generated >= self.limits.tokens:
            output.finish = "length"
        if output.finish is not None and output.stop is None:
            self._unsaid += self._utf8.decode(b"", final=True)
        until = len(self._unsaid) if output.finish else len(self._unsaid) - self._withheld
        if until > 0:
            output.text, self._unsaid = self._unsaid[:until], self._unsaid[until:]
        self.finish = output.finish
        return output

    @property
    def _goes_on(self) -> bool:
        return self.limits.ignores_end or self.generated + 1 < self.limits.minimum

    def _stop(self, token: Token, output: Output) -> None:
        if self.generated < self.limits.minimum:
            return
        if token.id in self.limits.ids:
            output.finish, output.stop = "stop", token.id
            return
        if not self.limits.strings:
            return
        hits = [(at, string) for string in self.limits.strings if (at := self._unsaid.find(string)) >= 0]
        if hits:
            at, string = min(hits)
            self._unsaid = self._unsaid[: at + len(string) if self.limits.keeps_stop else at]
            output.finish, output.stop = "stop", string
