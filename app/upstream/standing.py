"""Why an endpoint may not be used, apart from its breaker: health, drains, being busy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.upstream.busy import Busy

Health = Literal["up", "down", "unknown"]
Seizure = Literal["stuck", "paused"]


class Standing:
    """What operators, probes and the engine itself said about one endpoint.

    An endpoint never probed counts as up. `drained` is an operator's word and lasts until its time or
    `resume`; `draining` is the engine's, and ends with a process that was seen down and came back, or
    that served a completion since. `asleep` is the engine's too; `seized` is what probes found: it answers
    for itself, but completes nothing.
    """

    def __init__(self, clock: Clock, busy: Busy) -> None:
        self.health: Health = "unknown"
        self.draining = False
        self.leaving = False
        self.asleep = False
        self.seized: Seizure | None = None
        self.drained_until = 0.0
        self.drain_reason = ""
        self.busy = busy
        self._clock = clock
        self._down_since_draining = False

    @property
    def drained(self) -> bool:
        return self._clock.monotonic() < self.drained_until

    @property
    def back_in(self) -> float:
        """Seconds until its drain and its being busy are over; 0 when no clock ends them."""
        drained = self.drained_until - self._clock.monotonic()
        return max(self.busy.left, drained if math.isfinite(drained) else 0.0)

    def hears(self, health: Health) -> bool:
        """Take a verdict of the probes; returns whether anything changed."""
        changed = health != self.health
        self.health = health
        if health == "down":
            self._down_since_draining = self.draining
        elif self.draining and self._down_since_draining:
            self.draining = self._down_since_draining = False
            changed = True
        return changed

    def engine_drains(self) -> bool:
        """Returns whether that is news."""
        news = not self.draining
        self.draining = True
        self._down_since_draining = self._down_since_draining or self.health == "down"
        return news

    def engine_serves(self) -> bool:
        """It completed something new; returns whether that is news."""
        news = self.draining or self.seized is not None
        self.draining = self._down_since_draining = False
        self.seized = None
        return news

    def drain(self, seconds: float | None, reason: str) -> None:
        """None: until `resume`."""
        self.drained_until = math.inf if seconds is None else self._clock.monotonic() + seconds
        self.drain_reason = reason

    def resume(self) -> None:
        self.drained_until = 0.0
        self.drain_reason = ""

    def keep_drain(self, former: Standing) -> None:
        """Take over an operator's drain: it was meant for the name."""
        self.drained_until, self.drain_reason = former.drained_until, former.drain_reason

    def against(self) -> str | None:
        """The weightiest reason not to use the endpoint, as one word."""
        if self.leaving:
            return "leaving"
        if self.drained:
            return "drained"
        if self.health == "down":
            return "down"
        if self.asleep:
            return "asleep"
        if self.seized is not None:
            return self.seized
        if self.draining:
            return "draining"
        if self.busy.left:
            return "busy"
        return None
