"""What a request costs in a small fleet and in a large one: a tenth more, at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.baseline import Change
from bench.counting import difference, total
from bench.script import play_requests

if TYPE_CHECKING:
    from bench.counting import Profile

TOLERANCE = 0.10
SMALL, LARGE = 10, 100
UNDER_WAY = (0, 64)
"""Other requests that wait for their answers meanwhile: without any, all endpoints are equally loaded."""


class Growth(NamedTuple):
    """The work for one request in either fleet, with so many others under way."""

    under_way: int
    small: Profile
    large: Profile

    @property
    def change(self) -> Change:
        small, large = total(self.small).instructions, total(self.large).instructions
        return Change(f"a request beside {self.under_way} others", small, large, TOLERANCE)

    @property
    def grown(self) -> Profile:
        """By function."""
        return difference(self.large, self.small)


async def play() -> list[Growth]:
    """A gateway of its own for each count."""
    return [
        Growth(others, await play_requests(SMALL, others), await play_requests(LARGE, others))
        for others in UNDER_WAY
    ]
