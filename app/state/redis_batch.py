"""What waits to be told to Redis, in order, and its form on the way there."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, msgpack

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence

    from msgspec import Raw

    from app.state.redis_rules import Prepared

LARGEST = 256
"""Operations of one batch: Redis does nothing else meanwhile, for a few milliseconds at most."""

_pack = msgpack.Encoder().encode


class Code(IntEnum):
    """What the script is asked to do."""

    TAKE = 1
    SETTLE = 2
    LOOK = 3
    AT_LEAST = 4
    HOLD = 5
    SPEND = 6
    SEEDED = 7
    LEAVE = 8


class Operation(Struct, eq=False):
    """`waiter` hears the result of a take or a look: None when Redis did not decide."""

    code: Code
    fields: tuple[Any, ...] = ()
    prepared: Prepared | None = None
    waiter: Future[list[float] | None] | None = None

    @property
    def lasting(self) -> bool:
        """Whether it must still be told when Redis was away; what is held is told anew instead."""
        return self.waiter is None and self.code is not Code.HOLD


def packed(
    gateway: str, number: int, holder: str, now: float | bool, operations: Sequence[Operation]
) -> bytes:
    """One batch; the rules of a tenant are in it once, however many of its calls are."""
    places: dict[Prepared, int] = {}
    rules: list[Raw] = []
    told = []
    for each in operations:
        prepared = each.prepared
        if prepared is None:
            told.append((int(each.code), *each.fields))
            continue
        place = places.get(prepared)
        if place is None:
            rules.append(prepared.wire)
            place = places[prepared] = len(rules)
        told.append((int(each.code), place, *each.fields))
    return _pack((gateway, number, holder, now, rules, told))
