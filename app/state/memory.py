"""Counters of one process: all rules of a call in one step without an await, so it is atomic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.core.tenant import Decision
from app.state.account import Account, Key
from app.state.grant import Accounts, Grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.clock import Clock
    from app.state.rule import Rule, RuleName, Window, Windows

CONCURRENCY_RETRY = 1.0
LONGEST_RETRY = 60.0
_FEW = 4096
_REMEMBERED = 20_000
_SWEEP_EVERY = 60.0
# Float arithmetic of draining may leave 1e-12 where nothing is used; far below one token.
ROUNDING = 1e-6


class MemoryCounters:
    """A refusal takes nothing. Settling a grant exactly undoes its reservation and books the truth."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: dict[Key, Account] = {}
        self._known: dict[int, Accounts] = {}
        self._sweep_at = _FEW
        self._sweep_due = -math.inf

    async def take(self, rules: Sequence[Rule], tokens: int, windows: Windows) -> Grant:
        """All of the rules or none; requests and places cost one, the others `tokens`."""
        now = self._clock.monotonic()
        accounts = self._known.get(id(rules))
        if accounts is None or accounts.rules is not rules or accounts.windows is not windows:
            accounts = self._found(rules, windows, now)
        decisions: list[Decision] = []
        for rule, account in accounts.each:
            cost = tokens if rule.of_tokens else 1
            if rule.drains:
                taken = account.taken(now, rule.refill) + cost
            else:
                taken = account.used + account.reserved + cost
            left = rule.limit - taken + ROUNDING
            if left < 0:
                _undo(accounts.each[: len(decisions)], tokens)
                return Grant(False, self._standing(rules, tokens, windows, now), 0, None)
            if rule.drains and not rule.of_tokens:
                account.used += 1
            else:
                account.reserved += cost
            reset = taken / rule.refill if rule.drains else self._reset(rule, account)
            decisions.append(Decision(rule.name, True, rule.limit, int(left), reset))
        return Grant(True, decisions, tokens, accounts)

    async def look(self, rules: Sequence[Rule], windows: Windows) -> list[Decision]:
        """How the rules stand, without taking anything."""
        return self._standing(rules, 0, windows, self._clock.monotonic())

    def settle(self, grant: Grant, tokens: int) -> None:
        """Give the places back and book `tokens` in place of those reserved; call it once.

        An account in which nothing was reserved may have been forgotten meanwhile.
        """
        accounts = grant.accounts
        if accounts is None:
            return
        now = self._clock.monotonic()
        for account in accounts.places:
            account.reserved -= 1
        for rule, account in accounts.tokens:
            if not grant.tokens:
                account = self._accounts.setdefault(account.key, account)
            if rule.drains:
                account.taken(now, account.refill)
            account.reserved -= grant.tokens
            account.used += tokens

    def book(self, subject: str, name: RuleName, window: Window, tokens: int) -> None:
        """At least so many tokens of a quota are used; said twice, it adds nothing."""
        key = (f"{subject}:{name}", window.start)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(self._clock.monotonic(), window.end, key)
        account.used = max(account.used, tokens)

    def account_of(self, rule: Rule, windows: Windows) -> Account:
        """Where a rule counts; a new one stands at nothing."""
        return self._account(rule, windows, self._clock.monotonic())

    @property
    def reserved(self) -> int:
        """Tokens and places held at the moment, over all rules: 0 when nothing is in flight."""
        return sum(account.reserved for account in self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)

    def __repr__(self) -> str:
        return f"<MemoryCounters accounts={len(self._accounts)} reserved={self.reserved}>"

    def _found(self, rules: Sequence[Rule], windows: Windows, now: float) -> Accounts:
        """The accounts of rules, remembered for a tuple of them, which is asked for again and again."""
        each = [(rule, self._account(rule, windows, now)) for rule in rules]
        if any(self._accounts.get(account.key) is not account for _, account in each):
            return self._found(rules, windows, now)  # one was forgotten to make room for another
        tokens = [(rule, account) for rule, account in each if rule.of_tokens]
        places = [account for rule, account in each if not (rule.of_tokens or rule.refill)]
        accounts = Accounts(rules, windows, each, tokens, places)
        if isinstance(rules, tuple):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[id(rules)] = accounts
        return accounts

    def _account(self, rule: Rule, windows: Windows, now: float) -> Account:
        window = None if rule.period is None else windows[rule.period]
        key = rule.key if window is None else (rule.key, window.start)
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._sweep_at and now >= self._sweep_due:
                self._sweep(now)
            account = self._accounts[key] = Account(now, math.inf if window is None else window.end, key)
        return account

    def _sweep(self, now: float) -> None:
        """Forget what stands as if it had never been counted.

        Rare in proportion to its work, and by the clock: buckets drain fast, so that of thousands of tenants
        who take turns most look idle at any moment, and would be made anew a moment later.
        """
        wall = self._clock.time()
        self._accounts = {key: each for key, each in self._accounts.items() if not each.idle(now, wall)}
        self._known.clear()
        self._sweep_at = max(_FEW, 2 * len(self._accounts))
        self._sweep_due = now + _SWEEP_EVERY

    def _standing(self, rules: Sequence[Rule], tokens: int, windows: Windows, now: float) -> list[Decision]:
        """At the moment of the decision itself: a bucket has drained a little a microsecond later."""
        decisions = []
        for rule in rules:
            account = self._account(rule, windows, now)
            taken = account.taken(now, rule.refill)
            over = taken + (tokens if rule.of_tokens else 1) - rule.limit
            reset = taken / rule.refill if rule.refill else self._reset(rule, account)
            retry = retry_after(rule, over, reset) if over > ROUNDING else 0.0
            left = max(0, int(rule.limit - taken + ROUNDING))
            decisions.append(Decision(rule.name, over <= ROUNDING, rule.limit, left, reset, retry))
        return decisions

    def _reset(self, rule: Rule, account: Account) -> float:
        """Seconds until a quota starts anew; places come back when calls end, which nobody knows."""
        return max(0.0, account.ends - self._clock.time()) if rule.period is not None else 0.0


def _undo(taken: list[tuple[Rule, Account]], tokens: int) -> None:
    for rule, account in taken:
        if rule.of_tokens:
            account.reserved -= tokens
        elif rule.refill:
            account.used -= 1
        else:
            account.reserved -= 1


def retry_after(rule: Rule, over: float, reset: float) -> float:
    if rule.period is not None:
        return reset
    if not rule.refill:
        return CONCURRENCY_RETRY if rule.name == "concurrency" else LONGEST_RETRY
    return min(LONGEST_RETRY, over / rule.refill)
