"""Power of two choices: the less loaded of two endpoints drawn by weight.

Many gateways that all take the least loaded one run together to the same; two random choices do not.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from app.routing.random_ import Lots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


class PowerOfTwo:
    """Always two different endpoints, where there are two; of equals the first drawn."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._lots = Lots()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        if len(endpoints) == 1:
            return endpoints[0]
        place = self._lots.draw(endpoints, self._chance())
        first = endpoints[place]
        second = endpoints[self._lots.draw_another(place, self._chance())]
        return second if second.load < first.load else first

    def eased(self, endpoint: Endpoint) -> None:
        self._lots.eased(endpoint)
