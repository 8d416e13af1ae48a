"""Slow start: an endpoint that is back takes its share little by little, its caches being cold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock, Timer

STEPS = 10


class Ramp:
    """A share that rises from a tenth to 1 in equal steps; `on_step` hears of each.

    Between recoveries nothing runs. Whoever recovers again in the middle begins anew.
    """

    def __init__(self, clock: Clock, on_step: Callable[[], object]) -> None:
        self.share = 1.0
        self._clock = clock
        self._on_step = on_step
        self._step = STEPS
        self._pause = 0.0
        self._timer: Timer | None = None

    def begin(self, seconds: float) -> None:
        """Be at full share after so long; 0 is at once."""
        self.end()
        if seconds > 0:
            self._pause = seconds / (STEPS - 1)
            self._step = 0
            self._climb()

    def end(self) -> None:
        """Full share from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._step < STEPS:
            self._step = STEPS - 1
            self._climb()

    def _climb(self) -> None:
        self._step += 1
        self.share = self._step / STEPS
        self._timer = None if self._step == STEPS else self._clock.call_later(self._pause, self._climb)
        self._on_step()

    def __repr__(self) -> str:
        return f"<Ramp {self.share:.0%}>"
