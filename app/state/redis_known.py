"""What this gateway last saw of the shared accounts: where its own share begins when Redis is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.clock import Clock
    from app.state.redis_rules import Prepared, Slot

_MANY = 50_000


class Seen(Struct, frozen=True, gc=False):
    """`taken` at monotonic `at`; `ends` is 0 where it belongs to no period."""

    taken: float
    at: float
    refill: float
    ends: float


class Known:
    """Bounded: accounts that have drained or whose period is over are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._sweep_at = _MANY

    def saw(self, prepared: Prepared, taken: Sequence[float]) -> None:
        now = self._clock.monotonic()
        for slot, used in zip(prepared.slots, taken, strict=False):
            self._seen[slot.name] = Seen(used, now, slot.refill, slot.ends)
        if len(self._seen) > self._sweep_at:
            self._sweep()

    def at_least(self, name: str, tokens: float, ends: float) -> None:
        """So much of a quota is used, says the ledger."""
        taken = max(tokens, self.taken(name))
        self._seen[name] = Seen(taken, self._clock.monotonic(), 0.0, ends)

    def add(self, slot: Slot, amount: float) -> None:
        """So much more was used here."""
        taken = self.taken(slot.name) + amount
        self._seen[slot.name] = Seen(taken, self._clock.monotonic(), slot.refill, slot.ends)

    def taken(self, name: str) -> float:
        """Now: what was seen, less what has drained since."""
        seen = self._seen.get(name)
        if seen is None:
            return 0.0
        return max(0.0, seen.taken - (self._clock.monotonic() - seen.at) * seen.refill)

    def __len__(self) -> int:
        return len(self._seen)

    def _sweep(self) -> None:
        wall = self._clock.time()
        self._seen = {
            name: seen
            for name, seen in self._seen.items()
            if (seen.ends > wall if seen.ends else self.taken(name) > 0)
        }
        self._sweep_at = max(_MANY, 2 * len(self._seen))
