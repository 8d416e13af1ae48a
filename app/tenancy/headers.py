"""OpenAI's rate-limit headers, out of the decisions on a call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.core.tenant import Decision

_FORMS = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}


def ratelimit_headers(decisions: Iterable[Decision]) -> dict[str, str]:
    """Of several limits of one kind the tightest: the one with the least left."""
    tightest: dict[str, Decision] = {}
    for decision in decisions:
        form = _FORMS.get(decision.rule)
        if form is not None and (form not in tightest or decision.remaining < tightest[form].remaining):
            tightest[form] = decision
    headers = {}
    for form, decision in tightest.items():
        headers[f"x-ratelimit-limit-{form}"] = str(decision.limit)
        headers[f"x-ratelimit-remaining-{form}"] = str(decision.remaining)
        headers[f"x-ratelimit-reset-{form}"] = span(decision.reset_after)
    return headers


def span(seconds: float) -> str:
    """As OpenAI writes it: 1s, 6m0s, 1h0m0s; whole seconds, rounded up."""
    whole = max(0, math.ceil(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
