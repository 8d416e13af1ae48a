"""Soft ejection: endpoints worse than their peers rest a while, but never too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.core.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOBODY: frozenset[str] = frozenset()


class EjectionOptions(BaseModel):
    """`max_ejected`: percent of a pool; beyond it nobody is.

    The rest says what sets an endpoint aside by itself (`enabled`), for how long, and how it comes back:
    `consecutive_failures` calls, `relapses` of its breaker, a failure rate clearly above its peers', or a
    first event `slow_factor` times later than theirs and no sooner than `slow_floor`. Rates and times are
    those of one to two intervals, from `minimum_calls` on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ejected: float = Field(default=50.0, ge=0, le=100)
    enabled: bool = True
    base_time: Seconds = Field(default=30.0, gt=0)
    max_time: Seconds = Field(default=300.0, gt=0)
    interval: Seconds = Field(default=10.0, gt=0)
    minimum_calls: int = Field(default=10, ge=1)
    consecutive_failures: int = Field(default=5, ge=1)
    relapses: int = Field(default=3, ge=1)
    slow_factor: float = Field(default=3.0, gt=1)
    slow_floor: Seconds = Field(default=1.0, gt=0)
    slow_start: Seconds = 30.0


class Ejection:
    """Who is out, and until when. Panic: when too many are, all of them are used again.

    `panic` is the answer to the last question. Open breakers and down endpoints are no business of this.
    """

    def __init__(self, options: EjectionOptions) -> None:
        self._max_share = options.max_ejected / 100
        self._until: dict[str, float] = {}
        self._lenient: set[str] = set()
        self.panic = False

    def eject(self, name: str, until: float | None = None, *, lenient: bool = False) -> None:
        """`until` is monotonic; None: until restored. `lenient`: it may help out when the others are full."""
        self._until[name] = float("inf") if until is None else until
        (self._lenient.add if lenient else self._lenient.discard)(name)

    def restore(self, name: str) -> None:
        """Harmless when it is not out."""
        self._until.pop(name, None)

    def ejected(self, names: Iterable[str], now: float) -> frozenset[str]:
        """Those of `names`, a whole pool, to leave out now."""
        self.panic = False
        if not self._until:
            return _NOBODY
        pool = frozenset(names)
        out = frozenset(name for name in pool if self._until.get(name, now) > now)
        self.panic = len(out) > self._max_share * len(pool)
        return _NOBODY if self.panic else out

    def lenient(self, out: frozenset[str]) -> frozenset[str]:
        """Those of the ejected that may help out."""
        return out & self._lenient

    def __repr__(self) -> str:
        return f"<Ejection out={sorted(self._until)} panic={self.panic}>"
