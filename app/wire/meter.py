"""Counts a stream's tokens from what its events say, choice by choice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.core.outcome import Usage
from app.wire.usage import MAX_COUNT, overstated, running_usage

if TYPE_CHECKING:
    import re

    from app.core.outcome import UsageSource
    from app.wire.usage import Reading


PER_EVENT = 16
"""Tokens that are believed for each event with content, of an endpoint that stated what cannot be true."""


@dataclass(slots=True)
class Choice:
    """One choice of a stream: the usage with the largest completion it stated, and why it finished.

    `stated` may still be the bytes of it: they are read when somebody asks.
    """

    index: int
    completion: int = 0
    stated: Usage | re.Match[bytes] | None = None
    finish: str | None = None

    def state(self, usage: Usage) -> None:
        """Running counts only grow, whatever the order in which they arrive."""
        if usage.completion >= self.completion:
            self.completion = usage.completion
            self.stated = usage

    @property
    def usage(self) -> Usage | None:
        if self.stated is None or isinstance(self.stated, Usage):
            return self.stated
        return running_usage(self.stated)

    @property
    def overstated(self) -> bool:
        """It was seen without being read that a part of a count is larger than the count."""
        return not (self.stated is None or isinstance(self.stated, Usage)) and overstated(self.stated)


@dataclass(slots=True)
class Meter:
    """`usage` is exact at every moment after a usage-bearing event; before, it is counted or estimated.

    A final usage replaces all running ones. Running usage is per choice: completions add up over the
    choices, and the prompt counts once for each `n` of them, since those share it. `prompt` is the estimate
    until an engine states the count. `events` are those with content.

    A count over `ceiling`, one that shrinks and one that is none is `forged`: it is not taken, and what else
    was stated no longer passes for the engine's word.
    """

    n: int = 1
    prompt: int = 0
    final: Usage | None = None
    ceiling: int = MAX_COUNT
    events: int = 0
    forged: bool = False
    excessive: bool = False
    """Parts were stated that are larger than their counts, which were cut down to them."""
    choices: dict[bytes, Choice] = field(default_factory=dict)
    """By the index as it is written in the event."""

    def choice(self, index: int) -> Choice:
        key = b"%d" % index
        choice = self.choices.get(key)
        if choice is None:
            choice = self.choices[key] = Choice(index)
        return choice

    def believe(self, reading: Reading) -> Usage | None:
        """The usage read, if it can be true; remembers that it cannot."""
        usage = reading.usage
        if usage is not None and usage.completion > self.ceiling:
            self.forged = True
            return None
        if reading.suspect and usage is None:
            self.forged = True
        elif reading.suspect:
            self.excessive = True
        return usage

    def state(self, index: int, usage: Usage) -> None:
        """The running usage of one choice."""
        choice = self.choice(index)
        if usage.completion < choice.completion:
            self.forged = True
        choice.state(usage)

    def conclude(self, usage: Usage | None) -> None:
        """The final usage, where there is one; it cannot be less than was stated before."""
        if usage is None:
            return
        if usage.completion < self._running:
            self.forged = True
        else:
            self.final = usage

    @property
    def _running(self) -> int:
        if self.final is not None:
            return self.final.completion
        return sum(choice.completion for choice in self.choices.values())

    @property
    def suspect(self) -> bool:
        return self.forged or self.excessive or any(choice.overstated for choice in self.choices.values())

    @property
    def usage(self) -> Usage:
        if self.final is not None:
            return self.final
        stated = [(choice.index, usage) for choice in self.choices.values() if (usage := choice.usage)]
        if not stated:
            return Usage(self.prompt, self.events)
        prompts: dict[int, Usage] = {}
        for index, usage in stated:
            known = prompts.setdefault(index // self.n, usage)
            if usage.prompt > known.prompt:
                prompts[index // self.n] = usage
        completion = sum(usage.completion for _, usage in stated)
        if self.forged:
            completion = min(completion, PER_EVENT * max(self.events, 1))
        return Usage(
            prompt=sum(usage.prompt for usage in prompts.values()),
            completion=completion,
            cached=sum(usage.cached for usage in prompts.values()),
            reasoning=sum(usage.reasoning for _, usage in stated),
        )

    @property
    def usage_source(self) -> UsageSource:
        stated = self.final is not None or any(choice.stated for choice in self.choices.values())
        if stated and not self.forged:
            return "upstream"
        return "counted" if self.events else "estimated"
