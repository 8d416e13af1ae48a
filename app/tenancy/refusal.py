"""A limit's refusal, said to the caller: which limit, whose, and when to come back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.core.errors import InvalidRequest, QuotaExhausted, RateLimitExceeded, RequestExceedsLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.tenant import Decision
    from app.state.rule import Rule


def exceeded(rules: Sequence[Rule], tokens: int) -> RequestExceedsLimit:
    """The refusal of a call that no waiting can help: it needs more than the smallest whole limit."""
    rule = min((rule for rule in rules if rule.of_tokens), key=lambda rule: rule.limit)
    return RequestExceedsLimit(
        f"This request needs about {tokens} tokens; the limit of this {rule.owner} is {_words(rule)}."
    )


def unbounded() -> InvalidRequest:
    """The refusal of a call that may take as much as it likes, where limits are strict."""
    return InvalidRequest("The limits of this tenant are strict: give max_tokens.", param="max_tokens")


def refusal(rules: Sequence[Rule], decisions: Sequence[Decision]) -> RateLimitExceeded | QuotaExhausted:
    """Names the limit that takes longest, a spent quota before all others; the wait is that for all."""
    refused = [pair for pair in zip(rules, decisions, strict=True) if not pair[1].allowed]
    rule, decision = max(refused, key=lambda pair: (pair[0].period is not None, pair[1].retry_after))
    retry_after = max(decision.retry_after for _, decision in refused)
    wait = max(1, math.ceil(retry_after))
    if rule.period is not None:
        return QuotaExhausted(
            f"The quota of this {rule.owner} is used up: limit {_words(rule)},"
            f" {decision.remaining} left. It starts anew in {wait} s.",
            retry_after=retry_after,
        )
    return RateLimitExceeded(
        f"Rate limit of this {rule.owner} reached: limit {_words(rule)},"
        f" {decision.remaining} left. Try again in {wait} s.",
        retry_after=retry_after,
    )


def _words(rule: Rule) -> str:
    if rule.name == "concurrency":
        return f"{rule.limit} concurrent requests"
    words = rule.name.replace("_", " ")
    rate = round(rule.refill * 60)
    return f"{rate} {words}, {rule.limit} at once" if rate and rate != rule.limit else f"{rule.limit} {words}"
