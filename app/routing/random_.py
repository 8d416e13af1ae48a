"""Random by weight: no state, so that many gateways need not know of each other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


def weighted(endpoints: Sequence[Endpoint], chance: float) -> int:
    """The place that `chance`, in [0, 1), falls on when the line is shared out by weight."""
    left = chance * sum(endpoint.weight for endpoint in endpoints)
    for place, endpoint in enumerate(endpoints):
        left -= endpoint.weight
        if left < 0:
            return place
    return len(endpoints) - 1


class WeightedRandom:
    """Blind to load."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[weighted(endpoints, self._chance())]
