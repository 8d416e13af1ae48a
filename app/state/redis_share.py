"""What one gateway may give while Redis is away: its share of what was left when it last saw it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.tenant import Decision
from app.state.memory import MemoryCounters
from app.state.redis_rules import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from app.core.clock import Clock
    from app.state.account import Account
    from app.state.grant import Grant
    from app.state.redis_known import Known
    from app.state.redis_rules import Prepared, Slot
    from app.state.rule import Rule


class Begun(Struct, eq=False):
    """An account of the share: it stood at `seed` at the monotonic time `at`."""

    slot: Slot
    account: Account
    seed: float
    at: float


class Share:
    """Every limit divided by the gateways alive; 1 of a limit that is less than that.

    A call that asks for more tokens than the share takes all of it. What this gateway took at Redis
    before counts as held until it is settled.
    """

    def __init__(self, gateways: int, known: Known, holding: Mapping[str, int], clock: Clock) -> None:
        self.gateways = gateways
        self._known = known
        self._holding = holding
        self._clock = clock
        self._counters = MemoryCounters(clock)
        self._begun: dict[str, Begun] = {}

    async def take(self, prepared: Prepared, tokens: int) -> Grant:
        rules = self._divided(prepared)
        tokens = min([tokens, *(rule.limit for rule in rules if rule.of_tokens)])
        grant = await self._counters.take(rules, tokens, prepared.windows)
        grant.decisions = _undivided(prepared, grant.decisions)
        return grant

    async def look(self, prepared: Prepared) -> list[Decision]:
        decisions = await self._counters.look(self._divided(prepared), prepared.windows)
        return _undivided(prepared, decisions)

    def settle(self, grant: Grant, tokens: int) -> None:
        self._counters.settle(grant, tokens)

    @property
    def reserved(self) -> int:
        return self._counters.reserved

    def used(self) -> Iterator[tuple[Slot, float, int]]:
        """Of every account: what was used here and has not drained yet, and what is still held."""
        now = self._clock.monotonic()
        for each in self._begun.values():
            account, refill = each.account, each.account.refill
            held = account.reserved
            left = max(0.0, each.seed - (now - each.at) * refill)
            yield each.slot, max(0.0, account.taken(now, refill) - held - left), held

    def _divided(self, prepared: Prepared) -> list[Rule]:
        return [
            self._part(rule, slot, prepared)
            for rule, slot in zip(prepared.rules, prepared.slots, strict=True)
        ]

    def _part(self, rule: Rule, slot: Slot, prepared: Prepared) -> Rule:
        limit = max(1, rule.limit // self.gateways) if rule.limit else 0
        if slot.kind == PLACE:
            limit = max(0, limit - self._holding.get(slot.name, 0))
        part = replace(rule, limit=limit, refill=rule.refill / self.gateways)
        account = self._counters.account_of(part, prepared.windows)
        begun = self._begun.get(slot.name)
        if begun is None or begun.account is not account:
            seed = 0.0 if begun or slot.kind == PLACE else self._known.taken(slot.name) / self.gateways
            account.used = seed
            account.refill = part.refill
            self._begun[slot.name] = Begun(slot, account, seed, self._clock.monotonic())
        return part


def _undivided(prepared: Prepared, decisions: Sequence[Decision]) -> list[Decision]:
    """As the caller knows its limits: whole."""
    return [
        Decision(each.rule, each.allowed, rule.limit, each.remaining, each.reset_after, each.retry_after)
        for rule, each in zip(prepared.rules, decisions, strict=False)
    ]
