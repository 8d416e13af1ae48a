"""Least load: the endpoint with the fewest calls in flight for its weight.

The endpoints stand in a heap by a load that none of them is below. Where it says too little, that shows when
the endpoint comes to the top; `eased` tells of every fall. So a pick costs the same in a small and a large fleet.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint

_Entry: TypeAlias = "tuple[float, float, int, Endpoint]"
"""At least this load, its turn, its place in the list, itself."""

_FORGET_ABOVE = 256


class LeastLoad:
    """Equals take turns by weight, so that an idle fleet is used by weight too; of equal turns the first.

    A turn is a time that passes with the picks: each puts the next turn of the endpoint off by 1/weight.
    """

    def __init__(self) -> None:
        self._turns: dict[str, float] = {}
        self._turn = 0.0
        self._endpoints: Sequence[Endpoint] = ()
        self._heap: list[_Entry] = []
        self._entries: dict[str, _Entry] = {}

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        if endpoints is not self._endpoints:
            self._rank(endpoints)
        heap, entries = self._heap, self._entries
        while True:
            entry = heap[0]
            known, turn, place, endpoint = entry
            name = endpoint.spec.name
            load = endpoint.load
            if entries[name] is not entry:
                heappop(heap)
            elif load == known:
                break
            else:
                entries[name] = entry = load, turn, place, endpoint
                heapreplace(heap, entry)
        self._turn = max(turn, self._turn)
        self._turns[name] = turn = self._turn + 1 / endpoint.weight
        entries[name] = entry = load, turn, place, endpoint
        heapreplace(heap, entry)
        return endpoint

    def eased(self, endpoint: Endpoint) -> None:
        """Its load may have fallen."""
        name = endpoint.spec.name
        entry = self._entries.get(name)
        if entry is None or not entry[0]:
            return
        load = endpoint.load
        if load < entry[0]:
            self._entries[name] = entry = load, *entry[1:]
            heappush(self._heap, entry)
            if len(self._heap) > 2 * len(self._entries):
                self._rank(self._endpoints)

    def _rank(self, endpoints: Sequence[Endpoint]) -> None:
        turns = self._turns
        if len(turns) > _FORGET_ABOVE + 2 * len(endpoints):
            names = {endpoint.spec.name for endpoint in endpoints}
            self._turns = turns = {name: turn for name, turn in turns.items() if name in names}
        heap: list[_Entry] = []
        entries: dict[str, _Entry] = {}
        for place, endpoint in enumerate(endpoints):
            name = endpoint.spec.name
            turn = turns.get(name)
            if turn is None:
                turn = turns[name] = self._turn + 0.5 / endpoint.weight
            entries[name] = entry = endpoint.load, turn, place, endpoint
            heap.append(entry)
        heapify(heap)
        self._endpoints, self._heap, self._entries = endpoints, heap, entries
