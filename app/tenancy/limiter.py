"""Admits a call under every limit of its key and its tenant at once, or under none.

A call reserves its prompt and what its answer may be expected to take; its end books the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, Field

from app.core.errors import GatewayError
from app.core.outcome import Outcome
from app.state.rule import Rule, RuleName, Window, Windows, rules_of
from app.tenancy.answers import Answers
from app.tenancy.forecast import forecast, refused
from app.tenancy.refusal import exceeded, refusal, unbounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.guard import Release
    from app.core.outcome import Settlement
    from app.core.tenant import Decision, Key
    from app.state.grant import Grant
    from app.store.spent import Spent
    from app.tenancy.calendar import Calendar
    from app.tenancy.forecast import Forecast

_WITHOUT_COMPLETION = frozenset(("pooling", "tokenize"))
_REMEMBERED = 20_000


class LimiterOptions(BaseModel, frozen=True, extra="forbid"):
    """`guess`: tokens reserved for one answer while nothing is learnt."""

    guess: int = Field(default=512, gt=0)


class SharedCounters(Protocol):
    """Where the counting happens: in this process, or in one step at a place that gateways share."""

    async def take(self, rules: Sequence[Rule], tokens: int, windows: Windows) -> Grant: ...

    def settle(self, grant: Grant, tokens: int) -> None: ...

    async def look(self, rules: Sequence[Rule], windows: Windows) -> list[Decision]: ...

    def book(self, subject: str, name: RuleName, window: Window, tokens: int) -> None:
        """The ledger says that so many tokens of a quota are used, in all."""
        ...


class Limiter:
    """What is over a limit is refused and takes nothing; what was admitted finishes, even into debt.

    A call reserves its prompt's estimate and, for each choice, what 95 % of the answers before stayed within,
    at most its max_tokens; the whole max_tokens for a strict tenant. So for every limit and at all times

        used + reserved <= limit + sum of max(0, may take - reserved)

    over the calls that were running when the limit last admitted one, and the limit as it was then. A call
    may take its prompt and `choices` times its max_tokens, or what the engine's context length leaves.
    """

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
        self._rules: dict[tuple[str, str, str], tuple[Key, tuple[Rule, ...], int | None]] = {}
        self._answers = Answers(self._options.guess, _REMEMBERED)

    async def admit(self, call: Call) -> Release:
        """Raises RateLimitExceeded, QuotaExhausted or RequestExceedsLimit; decisions stay on the call."""
        rules, whole = self._rules_of(call)
        if not rules:
            return _nothing
        tokens = 0 if whole is None else self._reservation(call, rules, whole)
        grant = await self._counters.take(rules, tokens, self._calendar.windows(call.started_at))
        call.decisions.extend(grant.decisions)
        if not grant.allowed:
            raise refusal(rules, grant.decisions)

        def release(settlement: Settlement) -> None:
            usage = settlement.usage
            self._counters.settle(grant, usage.prompt + usage.completion if settlement.billed else 0)
            if usage.completion and settlement.outcome is Outcome.SUCCESS:
                choice = -(-usage.completion // call.choices)
                self._answers.learn(call.key.tenant.id, call.target, choice)

        return release

    def _reservation(self, call: Call, rules: Sequence[Rule], whole: int) -> int:
        """Tokens to reserve; a mere guess is cut down to the whole limit. Raises RequestExceedsLimit."""
        tokens = call.prompt_estimate + self._expected(call)
        if tokens <= whole and whole:
            return tokens
        needed = call.prompt_estimate if call.completion_limit is None else tokens
        if needed > whole or not whole:
            raise exceeded(rules, needed)
        return whole

    async def rehearse(self, call: Call) -> tuple[list[Forecast], GatewayError | None]:
        """What each limit would say to the call, and what the call would be told; nothing is taken."""
        rules, whole = self._rules_of(call)
        tokens, error = 0, None
        if whole is not None:
            try:
                tokens = self._reservation(call, rules, whole)
            except GatewayError as refused_for_good:
                error, tokens = refused_for_good, call.prompt_estimate + (call.completion_limit or 0)
        stand = await self._counters.look(rules, self._calendar.windows(call.started_at)) if rules else []
        forecasts = [forecast(rule, now, tokens) for rule, now in zip(rules, stand, strict=True)]
        return forecasts, error or refused(forecasts)

    async def standing(self, key: Key) -> list[tuple[str, Decision]]:
        """How every limit of a tenant and its key stands, each with its owner (key or tenant)."""
        tenant = key.tenant
        rules = [*rules_of(tenant.id, "tenant", tenant.limits), *rules_of(key.id, "key", key.limits)]
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

    def _rules_of(self, call: Call) -> tuple[tuple[Rule, ...], int | None]:
        """The rules of a call, and the smallest of their token limits, None without one."""
        key = call.key
        name = (key.id, call.target, call.model)
        held = self._rules.get(name)
        if held is not None and held[0] is key:
            return held[1], held[2]
        tenant = key.tenant
        rules = [*rules_of(tenant.id, "tenant", tenant.limits), *rules_of(key.id, "key", key.limits)]
        model = call.target if call.target in tenant.model_limits else call.model
        if model in tenant.model_limits:
            subject = f"{tenant.id}/{call.target}"
            rules += rules_of(subject, f"tenant for {model}", tenant.model_limits[model])
        whole = min((rule.limit for rule in rules if rule.of_tokens), default=None)
        if len(self._rules) >= _REMEMBERED:
            self._rules.clear()
        self._rules[name] = (key, tuple(rules), whole)
        return tuple(rules), whole

    def _expected(self, call: Call) -> int:
        """Completion tokens to reserve. Raises InvalidRequest where a strict tenant leaves them open."""
        if call.surface.dialect in _WITHOUT_COMPLETION:
            return 0
        limit, tenant = call.completion_limit, call.key.tenant
        if tenant.strict:
            if limit is None:
                raise unbounded()
            return limit
        expected = self._answers.expected(tenant.id, call.target) * call.choices
        return expected if limit is None or expected < limit else limit


def _nothing(settlement: Settlement) -> None:
    """The release of a call without limits."""
