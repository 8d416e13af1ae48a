"""One fault, as asked for by an admin call, a header or a field of a request."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, field_validator

Answer = Literal[
    "silent", "close", "rst", "head_then_silence", "half_head", "raw", "status", "drain_500", "engine_dead",
    "plain_500", "queue_full", "rate_limited", "model_unloaded", "unauthorized", "forbidden", "redirect", "html",
]  # fmt: skip
"""Faults that replace the whole answer. `rst` does so only without `after_tokens`, `close` likewise."""

Progress = Literal["rst", "close", "cut", "stall", "abort", "error", "cut_in_chunk", "bad_chunk"]
"""Faults that strike once `after_tokens` tokens have been sent."""

Shape = Literal[
    "no_done", "no_finish", "malformed", "split_utf8", "coalesce", "fragment", "comments", "merge_tokens", "slow_head",
    "crlf", "no_usage", "usage", "after_done", "no_end", "close_after", "wrong_model", "delay",
]  # fmt: skip
"""Faults that change how an answer looks or travels, but not what was generated."""

Surface = Literal[
    "health_dead", "health_hang", "health_alive",
    "metrics_stale", "metrics_missing", "metrics_old_names", "metrics_garbage", "metrics_hang", "metrics_huge",
]  # fmt: skip
"""Faults of /health (and /ping) and of /metrics."""

Name = Literal[Answer, Progress, Shape, Surface]
NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(name for group in get_args(Name) for name in (get_args(group) or (group,)))
)


class Match(BaseModel, frozen=True, extra="forbid"):
    """Which requests a fault meets; what is not said matches everything the fault is meant for."""

    path: str | None = None
    model: str | None = None
    request_id: str | None = None
    stream: bool | None = None


class Fault(BaseModel, frozen=True, extra="forbid"):
    """A fault and its numbers. `count` requests are met, then it is spent; null never is."""

    fault: Name
    after_tokens: int | None = Field(default=None, ge=0)
    """Tokens of all choices together; the token that reaches the number is still sent."""
    count: int | None = Field(default=1, gt=0)
    match: Match = Match()
    code: int = Field(default=500, ge=100, le=999)
    """HTTP status of `status`, code of the in-band `error`, status of `redirect`."""
    message: str | None = None
    retry_after: str | None = None
    location: str = "http://127.0.0.1:1/"
    body: str = ""
    """What `raw`, `status`, `html`, `malformed` and `after_done` say."""
    then: Literal["close", "rst", "hang"] = "close"
    """How `raw` ends."""
    size: int = Field(default=1, gt=0)
    """Bytes of a fragment, events of a coalesced packet, tokens of a merged event."""
    delay: float = Field(default=0.005, ge=0)
    """Seconds between fragments or bytes of a slow head, before a `delay`, between comments."""
    usage: dict[str, Any] | None = None

    @field_validator("fault", mode="before")
    @classmethod
    def _spelled(cls, value: object) -> object:
        return value.strip().replace("-", "_") if isinstance(value, str) else value


def parse(spec: object) -> Fault:
    """A fault from a dict, or from text such as `rst;after=3`. Raises ValueError (pydantic's is one)."""
    if not isinstance(spec, str):
        return Fault.model_validate(spec)
    name, *pairs = spec.split(";")
    fields: dict[str, Any] = {"fault": name}
    for pair in pairs:
        key, _, value = pair.strip().partition("=")
        fields["after_tokens" if key == "after" else key] = _literal(value)
    return Fault.model_validate(fields)


def _literal(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
