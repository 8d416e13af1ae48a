"""Peak EWMA: the endpoint where a call can expect its first byte soonest, after Finagle and linkerd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.routing.weights import SmoothOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


class PeakEwma:
    """Cost is latency x (in flight + 1) / weight. Where no latency is known, the best known one is assumed:
    a new endpoint is tried soon, and is not run over.
    """

    def __init__(self) -> None:
        self._order = SmoothOrder()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        latencies = [endpoint.latency for endpoint in endpoints]
        assumed = min((latency for latency in latencies if latency is not None), default=1.0)
        costs = [
            (assumed if latency is None else latency) * (endpoint.inflight + 1) / endpoint.weight
            for endpoint, latency in zip(endpoints, latencies, strict=True)
        ]
        lowest = min(costs)
        best = [endpoint for endpoint, cost in zip(endpoints, costs, strict=True) if cost == lowest]
        return best[0] if len(best) == 1 else self._order.next(best)
