"""How an attempt ended, what it used, and what is told to everyone who let it pass.

Values made for every call are msgspec structs: a frozen dataclass costs ten times as much to make.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from msgspec import Struct

UsageSource = Literal["upstream", "counted", "estimated"]


class Outcome(Enum):
    """Who an ending speaks about: the endpoint (success, failure) or nobody (ignored).

    `word` is the value, read at the price of an attribute.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"

    def __init__(self, word: str) -> None:
        self.word = word


class Usage(Struct, frozen=True, gc=False):
    """Tokens; `cached` is part of `prompt`, `reasoning` is part of `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


NO_USAGE = Usage()


class Settlement(Struct, frozen=True, gc=False):
    """The end of one attempt, or of a call; times in seconds from its start.

    `finish` is the engine's finish reason, or hang_up, timeout, cut; `status` what the caller got
    (499: it was gone); `reason` a short word for metrics, such as connect, reset, first_byte. `suspect`: the
    endpoint stated counts that cannot be true. `died`: the endpoint was gone before it had answered.
    """

    outcome: Outcome
    usage: Usage = NO_USAGE
    usage_source: UsageSource = "upstream"
    status: int = 200
    first_byte: float | None = None
    elapsed: float = 0.0
    finish: str | None = None
    retry_after: float | None = None
    error_code: str | None = None
    reason: str | None = None
    billed: bool = True
    suspect: bool = False
    died: bool = False


ABANDONED = Settlement(Outcome.IGNORED, status=499, finish="hang_up", reason="abandoned", billed=False)
