"""How calls went at an endpoint of late: what its peers' are compared with."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.resilience.ejection import EjectionOptions
    from app.resilience.outlier import Offence

KEPT = 64
"""First events remembered of an interval: more make the median no better."""

NOT_YET = -1.0


class Tally:
    """Calls that ended, those of them that failed, and seconds to first events, of one interval."""

    __slots__ = ("calls", "failures", "waits")

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.waits: list[float] = []


class Conduct:
    """The present interval and the one before, so that the figures cover one to two of them.

    `on_look` hears of an offence that shows by itself, and of None when an interval is over. It is the
    calls that turn the intervals: an endpoint without calls has nothing to be judged by.
    """

    __slots__ = ("_before", "_now", "_on_look", "_relapses", "_row", "_turn_at", "options")

    def __init__(self, options: EjectionOptions, on_look: Callable[[Offence | None], None]) -> None:
        self.options = options
        self._on_look = on_look
        self._relapses: deque[float] = deque()
        self.clear()

    def forgive(self) -> None:
        """Forget everything."""
        self._relapses.clear()
        self.clear()

    def clear(self) -> None:
        """Forget how calls went; relapses are remembered."""
        self._row = 0
        self._before, self._now = Tally(), Tally()
        self._turn_at = NOT_YET

    @property
    def calls(self) -> int:
        return self._before.calls + self._now.calls

    @property
    def failures(self) -> int:
        return self._before.failures + self._now.failures

    @property
    def waits(self) -> int:
        """First events that `wait` is the median of."""
        return len(self._before.waits) + len(self._now.waits)

    @property
    def wait(self) -> float:
        """Seconds to the first event, the median; 0 while there was none."""
        return median(self._before.waits + self._now.waits or (0.0,))

    def succeeded(self) -> None:
        self._row = 0
        self._now.calls += 1

    def failed(self, now: float) -> None:
        self._row += 1
        self._now.calls += 1
        self._now.failures += 1
        if self._row % self.options.consecutive_failures == 0:
            self._on_look("failures")
        elif now >= self._turn_at:
            self._turn(now)

    def waited(self, seconds: float, now: float) -> None:
        """A stream's first event came after so long, or its caller gave up then."""
        waits = self._now.waits
        if len(waits) < KEPT:
            waits.append(seconds)
        if now >= self._turn_at:
            self._turn(now)

    def relapsed(self, now: float) -> None:
        """It broke down after it had recovered."""
        relapses = self._relapses
        relapses.append(now)
        while relapses[0] < now - 2 * self.options.base_time:
            relapses.popleft()
        if len(relapses) >= self.options.relapses:
            self._on_look("relapses")

    def _turn(self, now: float) -> None:
        due, self._turn_at = self._turn_at, now + self.options.interval
        if due < 0:
            return
        if now >= due + self.options.interval:
            self._before, self._now = Tally(), Tally()
        else:
            self._on_look(None)
            self._before, self._now = self._now, Tally()

    def __repr__(self) -> str:
        return f"<Conduct failures={self.failures}/{self.calls} row={self._row} wait={self.wait:.3f}>"
