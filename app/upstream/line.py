"""The order in which waiting calls are served: first come, first served."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.upstream.waiting import Waiter


class Line:
    """Waiters by arrival; any of them may leave at any time, in constant time."""

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._tried: Counter[frozenset[str]] = Counter()

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """The order of service, as it stands now; the line may change meanwhile."""
        return iter(tuple(self._waiters))

    def push(self, waiter: Waiter) -> None:
        self._waiters[waiter] = None
        self._tried[waiter.tried] += 1

    def discard(self, waiter: Waiter) -> None:
        """Harmless when it has left already."""
        if waiter in self._waiters:
            del self._waiters[waiter]
            self._tried[waiter.tried] -= 1
            if not self._tried[waiter.tried]:
                del self._tried[waiter.tried]

    @property
    def kinds(self) -> int:
        """How many different places the waiters ask for: those who tried the same ask for the same."""
        return len(self._tried)

    @property
    def since(self) -> float | None:
        """When the longest waiting of them came."""
        first = next(iter(self._waiters), None)
        return None if first is None else first.since
