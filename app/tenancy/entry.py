"""A call as a row of the ledger: open with what would be known if we died now, settled with the truth."""

from __future__ import annotations

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
        usage = Usage(prompt=call.prompt_estimate)
        return self._row(call, "open", "estimated", usage, wasted=0)

    def settled(self, call: Call, settlement: Settlement) -> UsageRow:
        """Void calls used nothing that anyone pays for: what was generated all the same is wasted."""
        billed = settlement.billed
        return self._row(
            call,
            "settled" if billed else "void",
            settlement.usage_source if billed else None,
            settlement.usage if billed else NO_USAGE,
            wasted=_wasted(call, settlement),
            end=settlement,
        )

    def _row(
        self,
        call: Call,
        state: str,
        source: str | None,
        usage: Usage,
        *,
        wasted: int,
        end: Settlement | None = None,
    ) -> UsageRow:
        key = call.key
        return UsageRow(
            call.id,
            call.client_request_id,
            key.tenant.id,
            key.id,
            call.target or call.model,
            _clean(call.served_model, 200),
            call.endpoint,
            call.surface.name,
            state,
            source,
            _bounded(usage.prompt),
            _bounded(usage.completion),
            _bounded(usage.cached),
            _bounded(usage.reasoning),
            _bounded(wasted),
            self._pricing.cost(call.target or call.model, usage),
            _clean(end.finish, 32) if end else None,
            end.status if end else None,
            _clean(end.error_code, 64) if end else None,
            call.started_at,
            end.first_byte if end else None,
            end.elapsed if end else None,
            len(call.attempts),
            self._calendar.hour(call.started_at),
            self._gateway,
        )


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), _MOST)


def _clean(word: str | None, longest: int) -> str | None:
    if word is None or (len(word) <= longest and word.isprintable()):
        return word
    return "".join(letter for letter in word if letter.isprintable())[:longest]


def _wasted(call: Call, settlement: Settlement) -> int:
    """Completion tokens that reached nobody who wanted them: of attempts that did not end well."""
    wasted = 0 if settlement.outcome is Outcome.SUCCESS else settlement.usage.completion
    for attempt in call.attempts[:-1]:
        wasted += attempt.settlement.usage.completion
    return wasted
