"""A call's rules as the script in Redis reads them, and its answer as decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw, Struct, msgpack

from app.core.tenant import Decision
from app.state.memory import ROUNDING, retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.state.rule import Rule, RuleName, Window, Windows

AT_ONCE, TOKENS, PLACE = 0, 1, 2
_REMEMBERED = 20_000
_pack = msgpack.Encoder().encode


class Slot(NamedTuple):
    """One account in Redis, as one rule sees it: `ends` is 0 where it belongs to no period."""

    name: str
    limit: int
    refill: float
    kind: int
    ends: float

    def cost(self, tokens: int) -> int:
        """What a call of so many tokens reserves here."""
        return tokens if self.kind == TOKENS else 1


class Prepared(Struct, eq=False):
    """`wire` is the slots, packed; compared by identity, so that a batch carries it once."""

    rules: Sequence[Rule]
    windows: Windows
    slots: list[Slot]
    wire: Raw

    def decisions(self, allowed: bool, taken: Sequence[float], tokens: int, wall: float) -> list[Decision]:
        """`taken` by the rules: after the call was admitted, or before it where it was refused."""
        found = []
        for rule, slot, used in zip(self.rules, self.slots, taken, strict=False):
            name, limit, refill = rule.name, rule.limit, rule.refill
            reset = used / refill if refill else max(0.0, slot.ends - wall) if slot.ends else 0.0
            if allowed:
                found.append(Decision(name, True, limit, int(limit - used + ROUNDING), reset))
                continue
            over = used + (tokens if rule.of_tokens else 1) - limit
            retry = retry_after(rule, over, reset) if over > ROUNDING else 0.0
            left = max(0, int(limit - used + ROUNDING))
            found.append(Decision(name, over <= ROUNDING, limit, left, reset, retry))
        return found


class Preparations:
    """Prepares each tuple of rules once a period; the limiter gives the same tuple again and again."""

    def __init__(self) -> None:
        self._known: dict[int, Prepared] = {}

    def of(self, rules: Sequence[Rule], windows: Windows) -> Prepared:
        known = self._known.get(id(rules))
        if known is not None and known.rules is rules and known.windows == windows:
            return known
        slots = [_slot(rule, windows) for rule in rules]
        prepared = Prepared(rules, windows, slots, Raw(_pack(slots)))
        if isinstance(rules, tuple):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[id(rules)] = prepared
        return prepared


def quota(subject: str, name: RuleName, window: Window) -> str:
    """The account of a quota in one period."""
    return f"{subject}:{name}@{window.start:.0f}"


def _slot(rule: Rule, windows: Windows) -> Slot:
    kind = TOKENS if rule.of_tokens else AT_ONCE if rule.refill else PLACE
    if rule.period is None:
        return Slot(rule.key, rule.limit, rule.refill, kind, 0.0)
    window = windows[rule.period]
    return Slot(f"{rule.key}@{window.start:.0f}", rule.limit, rule.refill, kind, window.end)
