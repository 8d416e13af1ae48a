"""Fair between tenants by tokens: whoever has been served least is next, and a newcomer before a flood.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), whose cost is tokens as in the virtual token
counter (Sheng et al., OSDI 2024). Where two tenants always have calls waiting, what they are served differs
by no more than one call of each; a tenant that had none waiting is before everybody who has had more than
their share. A deficit round robin lets each of the others have a whole quantum first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from app.upstream.backlog import Backlog
from app.upstream.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.core.clock import Clock
    from app.resilience.options import QueueOptions
    from app.upstream.waiter import Waiter

SLACK = 64
"""Entries that may be left over before they are looked through."""


class FairQueue:
    """The waiters of one priority. What an operation costs does not grow with how many wait.

    `now` is virtual time: the tokens that a tenant which always waits has been served. It begins anew
    when nobody waits. `flow` is how fast those of this priority find places.
    """

    def __init__(self, clock: Clock, options: Callable[[], QueueOptions]) -> None:
        self.flow = Flow(clock, options)
        self._clock = clock
        self.now = 0.0
        self.tokens = 0
        self.fresh = 0
        self.length = 0
        self.waiting = 0
        self._backlogs: dict[str, Backlog] = {}
        self._next: list[tuple[float, int, Backlog]] = []
        self._sizes: dict[int, dict[Backlog, None]] = {}
        self._entries = count()

    def __len__(self) -> int:
        return self.length

    def backlog(self, tenant: str) -> Backlog:
        """The tenant's, made if there is none."""
        found = self._backlogs.get(tenant)
        if found is None:
            found = self._backlogs[tenant] = Backlog(tenant)
        return found

    def push(self, waiter: Waiter) -> None:
        backlog = self.backlog(waiter.tenant)
        if not backlog:
            self.waiting += 1
            if backlog.start <= self.now:
                backlog.start = self.now
                backlog.fresh = waiter.cost
                self.fresh += waiter.cost
            heappush(self._next, (backlog.start, next(self._entries), backlog))
        size = backlog.size
        backlog.push(waiter)
        self._sized(backlog, size)
        self.tokens += waiter.cost
        self.length += 1

    def remove(self, waiter: Waiter) -> None:
        """It leaves without having been served."""
        self._left(self._backlogs[waiter.tenant], waiter)

    def serve(self, waiter: Waiter) -> None:
        """It leaves because it was given a place: its tenant is charged."""
        backlog = self._backlogs[waiter.tenant]
        self.flow.passed(waiter.cost, self._clock.monotonic() - waiter.since)
        self.now = max(self.now, backlog.start)
        backlog.start += waiter.cost
        self._stale(backlog)
        self._left(backlog, waiter)
        if backlog:
            heappush(self._next, (backlog.start, next(self._entries), backlog))

    def first(
        self, in_vain: Collection[frozenset[str]] = (), held_back: Collection[str] = ()
    ) -> Waiter | None:
        """Who is next, of those who are not held back and ask for something that is not asked for in vain."""
        while self._next and not self._valid(self._next[0]):
            heappop(self._next)
        if not self._next:
            return None
        ahead = self._next[0][2]
        if ahead.tenant not in held_back and (waiter := ahead.first(in_vain)) is not None:
            return waiter
        for entry in sorted(self._next):
            if self._valid(entry) and entry[2].tenant not in held_back:
                waiter = entry[2].first(in_vain)
                if waiter is not None:
                    return waiter
        return None

    @property
    def greediest(self) -> Backlog:
        """One of those with most tokens waiting, to the power of two; somebody waits."""
        return next(iter(self._sizes[max(self._sizes)]))

    def ahead_of(self, tenant: str) -> float:
        """Tokens that will be served before a call of this tenant that comes now, as far as can be said."""
        backlog = self._backlogs.get(tenant)
        if backlog is None:
            return self.fresh
        behind = max(0.0, backlog.start - self.now) + backlog.tokens
        waiting = self.waiting + (not backlog)
        return min(self.tokens, self.fresh + behind * waiting)

    def flooded_before(self, tenant: str) -> float:
        """The same without what is its own, of a tenant that has had no more than its share since it came."""
        backlog = self._backlogs.get(tenant)
        if backlog is not None and backlog.fresh and self.waiting > 1:
            return self.fresh - backlog.fresh
        return self.ahead_of(tenant)

    def _left(self, backlog: Backlog, waiter: Waiter) -> None:
        size = backlog.size
        backlog.remove(waiter)
        self._sized(backlog, size)
        self.tokens -= waiter.cost
        self.length -= 1
        if not backlog:
            self._stale(backlog)
            self.waiting -= 1
            if not self.waiting:
                self._begin_anew()
            elif max(len(self._backlogs), len(self._next)) > 2 * self.waiting + SLACK:
                self._forget()

    def _stale(self, backlog: Backlog) -> None:
        """It is not new any more."""
        self.fresh -= backlog.fresh
        backlog.fresh = 0

    def _sized(self, backlog: Backlog, former: int) -> None:
        size = backlog.size
        if size == former:
            return
        if former:
            del self._sizes[former][backlog]
            if not self._sizes[former]:
                del self._sizes[former]
        if size:
            self._sizes.setdefault(size, {})[backlog] = None

    @staticmethod
    def _valid(entry: tuple[float, int, Backlog]) -> bool:
        return bool(entry[2]) and entry[0] == entry[2].start

    def _begin_anew(self) -> None:
        self.flow.end()
        self.now = 0.0
        self._backlogs.clear()
        self._next.clear()

    def _forget(self) -> None:
        """Forget those who neither wait nor have had more than the others, and entries that say nothing."""
        self._backlogs = {
            name: each for name, each in self._backlogs.items() if each or each.start > self.now
        }
        valid = sorted((entry for entry in self._next if self._valid(entry)), reverse=True)
        self._next = list({entry[2]: entry for entry in valid}.values())
        heapify(self._next)

    def __repr__(self) -> str:
        return f"<FairQueue length={self.length} tenants={self.waiting} tokens={self.tokens}>"
