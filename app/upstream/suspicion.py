"""Suspicion: an endpoint that calls itself healthy and has work to do, and does not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.upstream.scraped import Scraped

FLAT = 2
"""Scrapes in a row that must show work and no progress since the one before them,"""

SPAN = 2.0
"""and the seconds they must cover at least."""


class Suspicion:
    """`since` is when it arose, in monotonic time; None while there is none. `grave`: it is being examined.

    Whoever is suspected is scraped more often; for an engine reads a long prompt, or answers in one piece,
    without a byte to us, and its own counters move then. A grave suspicion has it asked for a completion.
    """

    def __init__(self, clock: Clock) -> None:
        self.since: float | None = None
        self.grave = False
        self._clock = clock
        self._flat = 0
        self._flat_since = self._flat_until = 0.0

    def arises(self, *, grave: bool) -> bool:
        """Returns whether that is news."""
        news = self.since is None or grave > self.grave
        if self.since is None:
            self.since = self._clock.monotonic()
        self.grave = self.grave or grave
        return news

    def ends(self) -> bool:
        """Returns whether it was a grave one."""
        was, self.grave = self.grave, False
        self.since = None
        self._flat = 0
        return was

    def refuted(self, progressed_at: float) -> bool:
        """Whether a byte for any call, at that time, came after it arose."""
        return self.since is not None and progressed_at > self.since

    def compare(self, before: Scraped, now: Scraped) -> bool:
        """Take two scrapes that followed each other; returns whether the engine moved between them."""
        if before.scraped_at is None or now.pulse != before.pulse or not now.busy:
            self._flat = 0
            return before.scraped_at is not None and now.pulse != before.pulse
        if not self._flat:
            self._flat_since = before.scraped_at
        self._flat += 1
        self._flat_until = now.scraped_at or 0.0
        return False

    def confirmed(self, progressed_at: float) -> bool:
        """Whether the scrapes, and the silence of our own calls there, are enough to suspect it."""
        long_enough = self._flat >= FLAT and self._flat_until - self._flat_since >= SPAN
        return long_enough and progressed_at < self._flat_since

    def __repr__(self) -> str:
        return f"<Suspicion since={self.since} flat={self._flat}>"
