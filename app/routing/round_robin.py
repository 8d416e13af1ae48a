"""Round robin by weight: of 4000 calls over weights 3 and 1, exactly 3000 and 1000."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.routing.weights import SmoothOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint


class RoundRobin:
    """Blind to load."""

    def __init__(self) -> None:
        self._order = SmoothOrder()

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        return self._order.next(endpoints)
