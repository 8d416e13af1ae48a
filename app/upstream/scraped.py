"""What an endpoint's own metrics said last, for as long as that means anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Scraped:
    """`kv_usage` from 0 to 1; None = not told. Nothing of it counts after `stale_at` (monotonic).

    `tokens` are all that were read and generated so far, `life` is when the engine began to count them
    (wall clock).
    """

    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    asleep: bool | None = None
    tokens: int | None = None
    life: float | None = None
    scraped_at: float | None = None
    stale_at: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether it has work to do."""
        return bool(self.running or self.waiting)

    @property
    def pulse(self) -> tuple[float | None, ...]:
        """What changes as long as an engine at work is alive: a prompt being read takes cache, and counts
        once it is read.
        """
        return self.tokens, self.kv_usage, self.life

    def renewed(self, before: Scraped, since: float) -> bool:
        """Whether it is another process than the one scraped before, begun after `since` (wall clock)."""
        if self.life is None or before.life is None:
            return False
        return self.life > max(before.life, since)


NOTHING = Scraped()


class TokenCount(NamedTuple):
    """What one engine counted of one model since `life` began (wall clock; None = it does not say)."""

    series: str
    life: float | None
    prompt: int
    completion: int
