"""Smooth weighted order: by weight exactly, and never the same endpoint longer in a row than it must be.

The algorithm is nginx's: everyone gains its weight, the richest is picked and pays what all have gained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.ports import Endpoint

_FORGET_ABOVE = 256


class SmoothOrder:
    """Remembers by endpoint name, so that a list that changes from call to call disturbs nothing."""

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def next(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        """Of equals the first in the list."""
        credit = self._credit
        total, most = 0.0, -math.inf
        for endpoint in endpoints:
            name, weight = endpoint.spec.name, endpoint.weight
            total += weight
            mine = credit[name] = credit.get(name, 0.0) + weight
            if mine > most:
                richest, its_name, most = endpoint, name, mine
        credit[its_name] = most - total
        if len(credit) > _FORGET_ABOVE + 2 * len(endpoints):
            self._credit = {endpoint.spec.name: credit[endpoint.spec.name] for endpoint in endpoints}
        return richest
