"""A call as a row of the ledger: open with what would be known if we died now, settled with the truth."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from app.core.outcome import NO_USAGE, Outcome, Usage
from app.store.usage import UsageRow

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.outcome import Settlement
    from app.tenancy.calendar import Calendar
    from app.tenancy.pricing import Pricing

# What a 64-bit column holds: one forged count or word must not keep a batch from being written.
_MOST = 2**63 - 1


class Entries:
    """Costs are frozen in the row: a later price changes nothing that was written."""

    def __init__(self, pricing: Pricing, calendar: Calendar, gateway: str) -> None:
        self._pricing = pricing
        self._calendar = calendar
        self._gateway = gateway

    def opened(self, call: Call) -> UsageRow:
        return self._row(call, "open", "estimated", Usage(call.prompt_estimate), 0, _UNKNOWN)

    def checkpoint(self, call: Call) -> UsageRow:
        """The open row of a call whose answer has begun; what earlier attempts made is wasted already."""
        if call.metered is None:
            return self.opened(call)
        wasted = sum(attempt.wasted for attempt in call.attempts)
        return self._row(call, "open", call.metered.usage_source, call.metered.usage, wasted, _UNKNOWN)

    def settled(self, call: Call, settlement: Settlement) -> UsageRow:
        """Void calls used nothing that anyone pays for: what was generated all the same is wasted.

        So are tokens that reached nobody who wanted them: of attempts that did not end well.
        """
        usage, billed = settlement.usage, settlement.billed
        wasted = 0 if settlement.outcome is Outcome.SUCCESS else usage.completion
        for attempt in call.attempts[:-1] if billed else call.attempts:
            wasted += attempt.wasted
        if billed:
            return self._row(call, "settled", settlement.usage_source, usage, wasted, settlement)
        return self._row(call, "void", None, NO_USAGE, wasted, settlement)

    def _row(
        self,
        call: Call,
        state: str,
        source: str | None,
        usage: Usage,
        wasted: int,
        end: Settlement | _Unknown,
    ) -> UsageRow:
        # One comparison for five counts: or-ed together they are negative or too large if any of them is.
        if not 0 <= usage.prompt | usage.completion | usage.cached | usage.reasoning | wasted <= _MOST:
            usage, wasted = _bounded(usage), _within(wasted)
        key = call.key
        model = call.target or call.model
        return UsageRow(
            call.id,
            call.client_request_id,
            key.tenant.id,
            key.id,
            _clean_name(model, 500),
            call.served_model and _clean_name(call.served_model, 200),
            call.endpoint,
            call.surface.name,
            state,
            source,
            usage.prompt,
            usage.completion,
            usage.cached,
            usage.reasoning,
            wasted,
            self._pricing.cost(model, usage),
            end.finish and _clean_name(end.finish, 32),
            end.status,
            end.error_code and _clean(end.error_code, 64),
            call.started_at,
            end.first_byte,
            end.elapsed,
            len(call.attempts),
            self._calendar.hour(call.started_at),
            self._gateway,
        )


class _Unknown:
    """The end of a call that has none yet."""

    finish: str | None = None
    error_code: str | None = None
    status = first_byte = elapsed = None


_UNKNOWN = _Unknown()


def _bounded(usage: Usage) -> Usage:
    return Usage(
        _within(usage.prompt), _within(usage.completion), _within(usage.cached), _within(usage.reasoning)
    )


def _within(tokens: int) -> int:
    return min(max(tokens, 0), _MOST)


def _clean(word: str, longest: int) -> str:
    if len(word) <= longest and word.isprintable():
        return word
    return "".join(letter for letter in word if letter.isprintable())[:longest]


_clean_name = lru_cache(maxsize=512)(_clean)
"""For the names of the fleet's models and of finish reasons, which are few."""
