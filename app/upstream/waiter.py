"""A call that waits for a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from app.core.call import Call
    from app.core.guard import Lease
    from app.upstream.endpoint import LiveEndpoint

    Place = tuple[LiveEndpoint, Lease]

GUESS = 512
"""Tokens of one answer whose caller set no limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """It waits since then (monotonic), for so many seconds at most; `place` is cancelled the moment its caller
    is gone. `cost` is in tokens; `number` counts arrivals.
    """

    call: Call
    tried: frozenset[str]
    since: float
    patience: float
    cost: int
    number: int
    place: asyncio.Future[Place]

    @property
    def tenant(self) -> str:
        return self.call.key.tenant.id

    @property
    def priority(self) -> int:
        return self.call.key.tenant.priority


def cost_of(call: Call) -> int:
    """Tokens by which a call counts before its tenant's others: its prompt, and what it may be answered."""
    guess = GUESS * call.choices
    limit = call.completion_limit
    return max(1, call.prompt_estimate + (guess if limit is None else limit))
