"""What a breaker gives to a call: it speaks for the call until the breaker's state changes, then never again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.outcome import Outcome

if TYPE_CHECKING:
    from app.core.outcome import Settlement
    from app.resilience.breaker import Breaker
    from app.resilience.window import Mark


class ClosedPermit:
    """A call through a closed breaker."""

    __slots__ = ("_breaker", "_epoch", "_mark")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._epoch = breaker.epoch
        self._mark: Mark | None = None

    def answered(self) -> None:
        if self._mark is None and self._epoch == self._breaker.epoch:
            self._mark = self._breaker.answered()

    def __call__(self, settlement: Settlement) -> None:
        if settlement.outcome is Outcome.SUCCESS:
            if self._mark is None:
                self.answered()
        elif settlement.outcome is Outcome.FAILURE and self._epoch == self._breaker.epoch:
            self._breaker.failed(settlement.reason, self._mark)


class ProbePermit:
    """A call on probation through a half-open breaker."""

    __slots__ = ("_answered", "_breaker", "_epoch")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._epoch = breaker.epoch
        self._answered = False

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
