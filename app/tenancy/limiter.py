"""Admits a call under every limit of its key and its tenant at once, or under none.

A call reserves its prompt and what its answer may be expected to take; its end books the truth.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, Field

from app.core.outcome import Outcome
from app.state.rule import Rule, RuleName, Window, Windows, rule
from app.tenancy.refusal import exceeded, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Release
    from app.core.outcome import Settlement
    from app.core.tenant import Decision, Key, Limits
    from app.state.memory import Grant
    from app.store.spent import Spent
    from app.tenancy.calendar import Calendar

_NAMES: tuple[RuleName, ...] = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
    "tokens_per_day",
    "tokens_per_month",
)
_WITHOUT_COMPLETION = frozenset(("pooling", "tokenize"))
_REMEMBERED = 20_000


class LimiterOptions(BaseModel, frozen=True, extra="forbid"):
    """`guess`: tokens reserved for one answer while nothing is learnt; `weight` of the newest answer."""

    guess: int = Field(default=512, gt=0)
    weight: float = Field(default=0.1, gt=0, le=1)


class SharedCounters(Protocol):
    """Where the counting happens: in this process, or in one step at a place that gateways share."""

    async def take(self, rules: Sequence[Rule], tokens: int, windows: Windows) -> Grant: ...

    def settle(self, grant: Grant, tokens: int) -> None: ...

    async def look(self, rules: Sequence[Rule], windows: Windows) -> list[Decision]: ...

    def book(self, subject: str, name: RuleName, window: Window, tokens: int) -> None:
        """The ledger says that so many tokens of a quota are used, in all."""
        ...


class Limiter:
    """What is over a limit is refused and takes nothing; what was admitted finishes, even into debt."""

    def __init__(
        self,
        counters: SharedCounters,
        clock: Clock,
        calendar: Calendar,
        options: LimiterOptions | None = None,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._calendar = calendar
        self._options = options or LimiterOptions()
        self._rules: dict[tuple[str, str, str], tuple[Key, tuple[Rule, ...], int]] = {}
        self._learnt: dict[tuple[str, str], float] = {}

    async def admit(self, call: Call) -> Release:
        """Raises RateLimitExceeded, QuotaExhausted or RequestExceedsLimit; decisions stay on the call."""
        rules, whole = self._rules_of(call)
        if not rules:
            return _nothing
        tokens = call.prompt_estimate + self._expected(call)
        if tokens > whole or not whole:
            needed = call.prompt_estimate if call.completion_limit is None else tokens
            if needed > whole or not whole:
                raise exceeded(rules, needed)
            tokens = whole
        grant = await self._counters.take(rules, tokens, self._calendar.windows(call.started_at))
        call.decisions.extend(grant.decisions)
        if not grant.allowed:
            raise refusal(rules, grant.decisions)

        def release(settlement: Settlement) -> None:
            self._counters.settle(grant, settlement.usage.total if settlement.billed else 0)
            self._learn(call, settlement)

        return release

    async def standing(self, key: Key) -> list[tuple[str, Decision]]:
        """How every limit of a tenant and its key stands, each with its owner (key or tenant)."""
        tenant = key.tenant
        rules = [*_rules(tenant.id, "tenant", tenant.limits), *_rules(key.id, "key", key.limits)]
        decisions = await self._counters.look(rules, self._calendar.windows(self._clock.time()))
        return [(rule.owner, decision) for rule, decision in zip(rules, decisions, strict=True)]

    def seed(self, spent: Iterable[Spent]) -> None:
        """Count what the ledger says was used in the running periods."""
        windows = self._calendar.windows(self._clock.time())
        used: dict[str, tuple[int, int]] = {}
        for row in spent:
            for subject in (row.tenant_id, row.key_id, f"{row.tenant_id}/{row.model}"):
                day, month = used.get(subject, (0, 0))
                used[subject] = (day + row.day, month + row.month)
        for subject, (day, month) in used.items():
            self._counters.book(subject, "tokens_per_day", windows.day, day)
            self._counters.book(subject, "tokens_per_month", windows.month, month)

    def _rules_of(self, call: Call) -> tuple[tuple[Rule, ...], int]:
        """The rules of a call, and the smallest of their token limits."""
        key = call.key
        name = (key.id, call.target, call.model)
        held = self._rules.get(name)
        if held is not None and held[0] is key:
            return held[1], held[2]
        tenant = key.tenant
        rules = [*_rules(tenant.id, "tenant", tenant.limits), *_rules(key.id, "key", key.limits)]
        model = call.target if call.target in tenant.model_limits else call.model
        if model in tenant.model_limits:
            subject = f"{tenant.id}/{call.target}"
            rules += _rules(subject, f"tenant for {model}", tenant.model_limits[model])
        whole = min((rule.limit for rule in rules if rule.of_tokens), default=sys.maxsize)
        if len(self._rules) >= _REMEMBERED:
            self._rules.clear()
        self._rules[name] = (key, tuple(rules), whole)
        return tuple(rules), whole

    def _expected(self, call: Call) -> int:
        if call.surface.dialect in _WITHOUT_COMPLETION:
            return 0
        each = self._learnt.get((call.key.tenant.id, call.target), self._options.guess)
        expected = int(each * call.choices)
        return expected if call.completion_limit is None else min(call.completion_limit, expected)

    def _learn(self, call: Call, settlement: Settlement) -> None:
        if settlement.outcome is not Outcome.SUCCESS or not settlement.usage.completion:
            return
        name = (call.key.tenant.id, call.target)
        latest = settlement.usage.completion / call.choices
        known = self._learnt.get(name)
        if known is None and len(self._learnt) >= _REMEMBERED:
            self._learnt.clear()
        self._learnt[name] = latest if known is None else known + self._options.weight * (latest - known)


def _nothing(settlement: Settlement) -> None:
    """The release of a call without limits."""


def _rules(subject: str, owner: str, limits: Limits) -> list[Rule]:
    rules = []
    for name in _NAMES:
        limit = getattr(limits, name)
        if limit is not None:
            rules.append(rule(subject, owner, name, limit))
    return rules
