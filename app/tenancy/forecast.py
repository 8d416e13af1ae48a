"""What a limit would say to a call, from how it stands: the limiter's answer without the taking."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from app.core.tenant import Decision
from app.state.memory import retry_after
from app.tenancy.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.errors import QuotaExhausted, RateLimitExceeded
    from app.state.rule import Rule


class Forecast(NamedTuple):
    """`cost` is what the call would take or reserve: tokens, or 1."""

    rule: Rule
    decision: Decision
    cost: int


def forecast(rule: Rule, stands: Decision, tokens: int) -> Forecast:
    """`stands` is the rule for a call of no tokens; places and requests are asked for already."""
    if not rule.of_tokens:
        return Forecast(rule, stands, 1)
    allowed = stands.allowed and tokens <= stands.remaining
    over = stands.reset_after * rule.refill + tokens - rule.limit
    wait = 0.0 if allowed else retry_after(rule, over, stands.reset_after)
    decision = Decision(rule.name, allowed, rule.limit, stands.remaining, stands.reset_after, wait)
    return Forecast(rule, decision, tokens)


def refused(forecasts: Sequence[Forecast]) -> RateLimitExceeded | QuotaExhausted | None:
    """The error the call would get, None if every limit lets it pass."""
    if all(each.decision.allowed for each in forecasts):
        return None
    return refusal([each.rule for each in forecasts], [each.decision for each in forecasts])
