"""Waiters without a room, for the tests of who is served next."""

from __future__ import annotations

from itertools import count
from typing import Any

from app.upstream.waiter import Waiter
from tests.unit.upstream.fleets import make_call

_numbers = count(1)


def make_waiter(
    tenant: str = "a", cost: int = 100, *tried: str, priority: int = 0, since: float = 0.0
) -> Waiter:
    place: Any = None
    call = make_call(tenant=tenant, priority=priority)
    return Waiter(call, frozenset(tried), since, 10.0, cost, next(_numbers), place)


def order(queue, most: int = 1000) -> str:
    """The tenants of those who wait, as they are served one after the other."""
    served = ""
    while len(served) < most and (waiter := queue.first()) is not None:
        queue.serve(waiter)
        served += waiter.tenant
    return served
