"""Least load: the endpoint with the fewest calls in flight for its weight."""

from __future__ import annotations

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
        best, lowest, equals = endpoints[0], endpoints[0].load, False
        for endpoint in endpoints[1:]:
            load = endpoint.load
            if load < lowest:
                best, lowest, equals = endpoint, load, False
            elif load == lowest:
                equals = True
        if not equals:
            return best
        return self._order.next([endpoint for endpoint in endpoints if endpoint.load == lowest])
