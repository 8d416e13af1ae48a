"""The order in which waiting calls are served: by priority, then fair between tenants, then by arrival."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from app.upstream.fair import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from app.core.clock import Clock
    from app.resilience.options import QueueOptions
    from app.upstream.waiter import Waiter


CLASSES = 16
"""Priorities remembered, unless more have calls waiting."""


class Line:
    """Any waiter may leave at any time. Of priorities the lower is served first, as in vLLM."""

    def __init__(self, clock: Clock, options: Callable[[], QueueOptions]) -> None:
        self._clock = clock
        self._options = options
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        """By arrival."""
        self._classes: dict[int, FairQueue] = {}
        self._tried: Counter[frozenset[str]] = Counter()

    def __len__(self) -> int:
        return len(self.waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """By arrival."""
        return iter(tuple(self.waiters))

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self.waiters

    def push(self, waiter: Waiter) -> None:
        self.waiters[waiter] = None
        self._tried[waiter.tried] += 1
        self.of(waiter.priority).push(waiter)

    def discard(self, waiter: Waiter) -> None:
        """It leaves unserved; harmless when it has left already."""
        if waiter in self.waiters:
            self._strike(waiter)
            self._classes[waiter.priority].remove(waiter)

    def serve(self, waiter: Waiter) -> None:
        """It leaves with a place."""
        self._strike(waiter)
        self._classes[waiter.priority].serve(waiter)

    def first(
        self, in_vain: Collection[frozenset[str]] = (), held_back: Collection[str] = ()
    ) -> Waiter | None:
        """Who is next, of those whose tenant is not held back and who did not try what is asked for in vain."""
        if len(in_vain) >= len(self._tried):
            return None
        for priority in sorted(self._classes):
            waiter = self._classes[priority].first(in_vain, held_back)
            if waiter is not None:
                return waiter
        return None

    def of(self, priority: int) -> FairQueue:
        """Those of one priority."""
        found = self._classes.get(priority)
        if found is None:
            if len(self._classes) >= CLASSES:
                self._classes = {each: queue for each, queue in self._classes.items() if queue}
            found = self._classes[priority] = FairQueue(self._clock, self._options)
        return found

    def giving_way(self, newcomer: Waiter) -> Waiter | None:
        """Who leaves a full line for the newcomer: the last of whoever has most waiting in the lowest class.

        None when that would be the newcomer.
        """
        lowest = max((each for each, queue in self._classes.items() if queue), default=newcomer.priority)
        if lowest < newcomer.priority or not self.waiters:
            return None
        queue = self._classes[lowest]
        greediest = queue.greediest
        if lowest == newcomer.priority:
            tokens = queue.backlog(newcomer.tenant).tokens + newcomer.cost
            if tokens.bit_length() >= greediest.size:
                return None
        return greediest.last

    @property
    def since(self) -> float | None:
        """When the longest waiting of them came."""
        first = next(iter(self.waiters), None)
        return None if first is None else first.since

    @property
    def priority(self) -> int | None:
        """Of whoever is next."""
        return min((each for each, queue in self._classes.items() if queue), default=None)

    def _strike(self, waiter: Waiter) -> None:
        del self.waiters[waiter]
        self._tried[waiter.tried] -= 1
        if not self._tried[waiter.tried]:
            del self._tried[waiter.tried]
