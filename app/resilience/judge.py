"""Says when a closed breaker has seen enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from app.resilience.window import SlidingWindow

if TYPE_CHECKING:
    from app.resilience.window import Mark

Cause = Literal["connect", "failure"]

CONNECT = frozenset({"connect", "connect_timeout"})
UNANSWERED = CONNECT | {"first_byte", "closed"}


class Judge:
    """Two rules: the failure rate over a sliding window, and a row of calls without any answer.

    Every call counts once: good from its answer on, bad as soon as it fails, be it later.
    """

    __slots__ = ("_minimum", "_row", "_row_limit", "_threshold", "_unreachable", "_window")

    def __init__(self, window: SlidingWindow, minimum: int, threshold: float, row_limit: int) -> None:
        """`minimum` calls in the window and `threshold` percent of failures; `row_limit` calls in a row."""
        self._window = window
        self._minimum = minimum
        self._threshold = threshold
        self._row_limit = row_limit
        self._row = 0
        self._unreachable = True

    def answered(self, now: float) -> Mark:
        """A call is going well; the mark is for `failed`, should that change."""
        self._row = 0
        self._unreachable = True
        return self._window.add(now, failed=False)

    def failed(self, now: float, reason: str | None, mark: Mark | None) -> Cause | None:
        """Why to open now, if so: "connect" when a row of connections failed and nothing else did."""
        window = self._window
        if mark is None:
            window.add(now, failed=True)
        else:
            window.fail(mark, now)
        if reason in UNANSWERED:
            self._row += 1
            self._unreachable = self._unreachable and reason in CONNECT
            if self._row >= self._row_limit:
                return "connect" if self._unreachable else "failure"
        enough = window.calls >= self._minimum
        return "failure" if enough and window.failures * 100 >= self._threshold * window.calls else None

    def __repr__(self) -> str:
        return f"<Judge failures={self._window.failures}/{self._window.calls} row={self._row}>"
