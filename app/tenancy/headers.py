"""OpenAI's rate-limit headers, out of the decisions on a call."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.core.tenant import Decision

_HEADERS = {
    f"{form}_per_minute": tuple(f"x-ratelimit-{what}-{form}" for what in ("limit", "remaining", "reset"))
    for form in ("requests", "tokens")
}


def ratelimit_headers(decisions: Iterable[Decision]) -> dict[str, str]:
    """Of several limits of one kind the tightest: the one with the least left."""
    tightest: dict[str, Decision] = {}
    for decision in decisions:
        rule = decision.rule
        if rule in _HEADERS and (rule not in tightest or decision.remaining < tightest[rule].remaining):
            tightest[rule] = decision
    headers = {}
    for rule, decision in tightest.items():
        limit, remaining, reset = _HEADERS[rule]
        headers[limit] = f"{decision.limit}"
        headers[remaining] = f"{decision.remaining}"
        headers[reset] = span(decision.reset_after)
    return headers


def span(seconds: float) -> str:
    """As OpenAI writes it: 1s, 6m0s, 1h0m0s; whole seconds, rounded up."""
    return _written(math.ceil(seconds))


@lru_cache(maxsize=128)
def _written(seconds: int) -> str:
    hours, rest = divmod(max(0, seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
