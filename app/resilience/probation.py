"""Probation: a few calls on trial decide whether a half-open breaker closes or opens again."""

from __future__ import annotations

from typing import Literal


class Probation:
    """Lets exactly `calls` probes through, and decides as soon as the ones to come cannot change it.

    It fails when `threshold` percent of `calls` failed, and passes when that can no longer happen.
    A probe given back decides nothing and may be given to another call.
    """

    __slots__ = ("_calls", "_connects", "_failed", "_given", "_passed", "_threshold")

    def __init__(self, calls: int, threshold: float) -> None:
        self._calls = calls
        self._threshold = threshold
        self._given = 0
        self._passed = 0
        self._failed = 0
        self._connects = 0

    @property
    def ready(self) -> bool:
        return self._given < self._calls

    @property
    def unreachable(self) -> bool:
        """Whether every failure so far was one to connect."""
        return self._failed == self._connects

    def give(self) -> None:
        self._given += 1

    def take_back(self) -> None:
        self._given -= 1

    def succeed(self) -> None:
        self._passed += 1

    def fail(self, *, connect: bool, passed: bool) -> None:
        """`passed`: it had been counted as a success before."""
        self._passed -= passed
        self._failed += 1
        self._connects += connect

    @property
    def verdict(self) -> Literal["passed", "failed"] | None:
        bar = self._threshold * self._calls
        if self._failed * 100 >= bar:
            return "failed"
        if (self._calls - self._passed) * 100 < bar:
            return "passed"
        return None

    def __repr__(self) -> str:
        return f"<Probation given={self._given}/{self._calls} passed={self._passed} failed={self._failed}>"
