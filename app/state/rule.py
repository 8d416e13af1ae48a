"""A rule: one limit of one subject, with what it counts and how that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

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

    Requests count at once. Tokens and places are reserved and settled. `refill` is what a bucket gets
    back per second, 0 for places and quotas; `period` the field of Windows that a quota belongs to.
    """

    subject: str
    owner: str
    name: RuleName
    limit: int
    key: str
    refill: float
    of_tokens: bool
    period: int | None


_PERIODS = {"tokens_per_day": 0, "tokens_per_month": 1}


def rule(subject: str, owner: str, name: RuleName, limit: int) -> Rule:
    """A rate limit is a bucket of `limit`, refilled at limit/60 per second."""
    return Rule(
        subject=subject,
        owner=owner,
        name=name,
        limit=limit,
        key=f"{subject}:{name}",
        refill=limit / 60 if name.endswith("_per_minute") else 0.0,
        of_tokens=name.startswith("tokens_"),
        period=_PERIODS.get(name),
    )
