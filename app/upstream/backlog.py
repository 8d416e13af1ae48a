"""What one tenant has waiting: first come, first served among calls that ask for the same."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.upstream.waiter import Waiter


class Backlog:
    """Any waiter may leave at any time, in constant time. Calls that tried the same ask for the same places.

    `start` is the tenant's place in its class's virtual time, `fresh` what counts of it as new there, and
    `turn` the monotonic time that the last one refused was told to come back at: FairQueue and Forecast
    keep them.
    """

    __slots__ = ("_kinds", "fresh", "start", "tenant", "tokens", "turn")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.tokens = 0
        self.start = 0.0
        self.fresh = 0
        self.turn = 0.0
        self._kinds: dict[frozenset[str], OrderedDict[Waiter, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    @property
    def size(self) -> int:
        """The tokens' order of magnitude, to the power of two."""
        return self.tokens.bit_length()

    def push(self, waiter: Waiter) -> None:
        kind = self._kinds.get(waiter.tried)
        if kind is None:
            kind = self._kinds[waiter.tried] = OrderedDict()
        kind[waiter] = None
        self.tokens += waiter.cost

    def remove(self, waiter: Waiter) -> None:
        kind = self._kinds[waiter.tried]
        del kind[waiter]
        if not kind:
            del self._kinds[waiter.tried]
        self.tokens -= waiter.cost

    def first(self, in_vain: Collection[frozenset[str]] = ()) -> Waiter | None:
        """Who came first, of those that ask for something else than what is asked for in vain."""
        heads = [next(iter(kind)) for tried, kind in self._kinds.items() if tried not in in_vain]
        return min(heads, key=_number, default=None) if len(heads) != 1 else heads[0]

    @property
    def last(self) -> Waiter:
        """Who came last; somebody waits."""
        return max((next(reversed(kind)) for kind in self._kinds.values()), key=_number)

    def __repr__(self) -> str:
        return f"<Backlog {self.tenant} tokens={self.tokens} start={self.start:.0f}>"


def _number(waiter: Waiter) -> int:
    return waiter.number
