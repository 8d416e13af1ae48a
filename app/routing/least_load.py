"""Least load: the endpoint with the fewest calls in flight for its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.routing.weights import SmoothOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


def least(endpoints: Sequence[Endpoint], costs: Sequence[float]) -> list[Endpoint]:
    """Those that cost least, in their order; `costs` are the endpoints' own, in the same order."""
    lowest = min(costs)
    return [endpoint for endpoint, cost in zip(endpoints, costs, strict=True) if cost == lowest]


class LeastLoad:
    """Equals take turns by weight, so that an idle fleet is used by weight too."""

    def __init__(self) -> None:
        self._order = SmoothOrder()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        best = least(endpoints, [endpoint.load for endpoint in endpoints])
        return best[0] if len(best) == 1 else self._order.next(best)
