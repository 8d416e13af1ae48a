"""What an endpoint's own metrics said last, for as long as that means anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Scraped:
    """`kv_usage` from 0 to 1; None = not told. Nothing of it counts after `stale_at` (monotonic)."""

    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    scraped_at: float | None = None
    stale_at: float = 0.0


NOTHING = Scraped()


class TokenCount(NamedTuple):
    """What one engine counted of one model since `life` began (wall clock; None = it does not say)."""

    series: str
    life: float | None
    prompt: int
    completion: int
