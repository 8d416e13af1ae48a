"""Least load: the endpoint with the fewest calls in flight for its weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.routing.weights import SmoothOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


class LeastLoad:
    """Equals take turns by weight, so that an idle fleet is used by weight too."""

    def __init__(self) -> None:
        self._order = SmoothOrder()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        lowest = math.inf
        least: list[Endpoint] = []
        for endpoint in endpoints:
            load = endpoint.load
            if load < lowest:
                lowest, least = load, [endpoint]
            elif load == lowest:
                least.append(endpoint)
        return least[0] if len(least) == 1 else self._order.next(least)
