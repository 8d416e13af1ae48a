"""A rule: one limit of one subject, with what it counts and how that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from app.core.tenant import Limits

RuleName = Literal[
    "requests_per_minute", "tokens_per_minute", "concurrency", "tokens_per_day", "tokens_per_month"
]


class Window(NamedTuple):
    """A calendar period in wall clock seconds; the end belongs to the next one."""

    start: float
    end: float


class Windows(NamedTuple):
    """The periods that a moment belongs to."""

    day: Window
    month: Window


@dataclass(frozen=True, slots=True)
class Rule:
    """`owner` says in a refusal whose limit it is; `key` names what is counted, whatever the limit.

    Requests count at once. Tokens and places are reserved and settled. `limit` is the most that fits in at
    once: of a rate, its burst. What is used of a rate `drains`: `refill` is what its bucket gets back per second,
    0 for places and quotas; `period` the field of Windows that a quota belongs to.
    """

    subject: str
    owner: str
    name: RuleName
    limit: int
    key: str
    drains: bool
    refill: float
    of_tokens: bool
    period: int | None


_PERIODS = {"tokens_per_day": 0, "tokens_per_month": 1}


def rule(subject: str, owner: str, name: RuleName, limit: int, burst: int | None = None) -> Rule:
    """A rate limit is a bucket of `burst`, else of `limit`, refilled at limit/60 per second.

    A rate of nothing lets nothing through, whatever its burst.
    """
    rate = name.endswith("_per_minute")
    return Rule(
        subject=subject,
        owner=owner,
        name=name,
        limit=burst if burst and limit and rate else limit,
        key=f"{subject}:{name}",
        drains=rate,
        refill=limit / 60 if rate else 0.0,
        of_tokens=name.startswith("tokens_"),
        period=_PERIODS.get(name),
    )


def rules_of(subject: str, owner: str, limits: Limits) -> list[Rule]:
    """A rule for each limit that is set."""
    asked: tuple[tuple[RuleName, int | None, int | None], ...] = (
        ("requests_per_minute", limits.requests_per_minute, limits.requests_burst),
        ("tokens_per_minute", limits.tokens_per_minute, limits.tokens_burst),
        ("concurrency", limits.concurrency, None),
        ("tokens_per_day", limits.tokens_per_day, None),
        ("tokens_per_month", limits.tokens_per_month, None),
    )
    return [rule(subject, owner, name, limit, burst) for name, limit, burst in asked if limit is not None]
