"""The arithmetic of one limit: what is used drains away, what is reserved waits for its settlement."""

from __future__ import annotations

Key = str | tuple[str, float]
"""The rule's; with the start of the period, if it has one."""

CLOCK_ERROR = 2 * 3600.0
"""Seconds by which the wall clock may jump ahead and back without a quota beginning anew."""


class Account:
    """`used` may exceed a limit: an overrun is a debt, which delays the next call.

    Nothing of it depends on the limit, so that a changed limit meets what was used before. Between two
    looks it drains at the lower of the rates before and after.
    """

    __slots__ = ("at", "ends", "key", "refill", "reserved", "used")

    def __init__(self, at: float, ends: float, key: Key = "") -> None:
        self.key = key
        self.used = 0.0
        self.reserved = 0
        self.refill = 0.0
        self.at = at
        self.ends = ends

    def taken(self, now: float, refill: float) -> float:
        """What is used and reserved at `now`, after draining at `refill` per second since last time."""
        elapsed = now - self.at
        if elapsed > 0:
            self.at = now
            if refill:
                rate = self.refill if 0 < self.refill < refill else refill
                used = self.used - elapsed * rate
                self.used = used if used > 0 else 0.0
        self.refill = refill
        return self.used + self.reserved

    def idle(self, now: float, wall: float) -> bool:
        """Nothing would be lost by forgetting it."""
        self.taken(now, self.refill)
        return not self.reserved and (not self.used or wall >= self.ends + CLOCK_ERROR)

    def __repr__(self) -> str:
        return f"<Account used={self.used:.1f} reserved={self.reserved}>"
