"""Random by weight: nothing is learnt, so that many gateways need not know of each other."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


class WeightedRandom:
    """Blind to load."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._lots = Lots()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[self._lots.draw(endpoints, self._chance())]

    def eased(self, endpoint: Endpoint) -> None:
        self._lots.eased(endpoint)


class Lots:
    """Endpoints side by side on a line, each as long as its weight; measured when they or a weight change."""

    def __init__(self) -> None:
        self._endpoints: Sequence[Endpoint] = ()
        self._weights: dict[str, float] = {}
        self._ends: list[float] = []

    def draw(self, endpoints: Sequence[Endpoint], chance: float) -> int:
        """The place that `chance`, in [0, 1), falls on."""
        if endpoints is not self._endpoints:
            self._measure(endpoints)
        ends = self._ends
        return min(bisect_right(ends, chance * ends[-1]), len(ends) - 1)

    def draw_another(self, first: int, chance: float) -> int:
        """Of the same endpoints, the one at `first` taken off the line; there are others."""
        ends = self._ends
        last = len(ends) - 1
        start = ends[first - 1] if first else 0.0
        width = ends[first] - start
        point = chance * (ends[last] - width)
        if point < start or first == last:
            return min(bisect_right(ends, point, 0, first), first - 1)
        return min(bisect_right(ends, point + width, first + 1), last)

    def eased(self, endpoint: Endpoint) -> None:
        """Its weight may have changed."""
        weight = endpoint.weight
        if self._weights.get(endpoint.spec.name, weight) != weight:
            self._endpoints = ()

    def _measure(self, endpoints: Sequence[Endpoint]) -> None:
        self._weights = {endpoint.spec.name: endpoint.weight for endpoint in endpoints}
        self._ends = list(accumulate(self._weights.values()))
        self._endpoints = endpoints
