"""What a breaker gives to a call: it speaks for the call until the breaker's state changes, then never again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.outcome import Outcome

if TYPE_CHECKING:
    from app.core.outcome import Settlement
    from app.resilience.breaker import Breaker
    from app.resilience.window import Mark


class ClosedPermit(Struct, eq=False):
    """A call through a closed breaker, let in at its `_epoch`."""

    _breaker: Breaker
    _epoch: int
    _mark: Mark | None = None

    def answered(self) -> None:
        if self._mark is None and self._epoch == self._breaker.epoch:
            self._mark = self._breaker.answered()

    def __call__(self, settlement: Settlement) -> None:
        if settlement.outcome is Outcome.SUCCESS:
            if self._mark is None:
                self.answered()
        elif settlement.outcome is Outcome.FAILURE and self._epoch == self._breaker.epoch:
            self._breaker.failed(settlement.reason, self._mark)


class ProbePermit(Struct, eq=False):
    """A call on probation through a half-open breaker, let in at its `_epoch`."""

    _breaker: Breaker
    _epoch: int
    _answered: bool = False

    def answered(self) -> None:
        if not self._answered and self._epoch == self._breaker.epoch:
            self._answered = True
            self._breaker.probe_answered()

    def __call__(self, settlement: Settlement) -> None:
        if self._epoch != self._breaker.epoch:
            return
        if settlement.outcome is Outcome.SUCCESS:
            self.answered()
        elif settlement.outcome is Outcome.FAILURE:
            self._breaker.probe_failed(settlement.reason, answered=self._answered)
        elif not self._answered:
            self._breaker.probe_undecided()
