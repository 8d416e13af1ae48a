"""Hedging: when the first event is late, a second endpoint is asked too; rarely enough to be affordable.

What is late is learnt: a high percentile of the first events seen lately (Dean and Barroso, The Tail at Scale,
CACM 2013). A budget keeps hedges a small part of the calls, so that an overload cannot feed on itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.core.units import Seconds

if TYPE_CHECKING:
    from app.core.call import Call

SHORT = frozenset({"pooling", "tokenize"})
"""Dialects whose whole answer takes a time that the prompt explains."""

KEPT = 200
"""First events that a percentile is taken of."""

BURST = 10.0
"""Hedges that can be saved up while none is needed."""

_SMALL = 4
_ROUNDING = 1e-9


class HedgeOptions(BaseModel):
    """A hedge follows once `percentile` of the first events had come, but not before `minimum_delay` and not
    before `minimum_calls` are known; `budget_ratio` is hedges per call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    budget_ratio: float = Field(default=0.05, ge=0, le=1)
    percentile: float = Field(default=95.0, gt=0, lt=100)
    minimum_calls: int = Field(default=20, ge=1, le=KEPT)
    minimum_delay: Seconds = 0.02


class Hedge:
    """Of one model: when its calls are late, and whether a hedge is affordable.

    Covered are streams and the short answers of pooling and tokenizing. A whole generated answer takes as long
    as its text: it is late because it is long, and a second one would be just as long.

    Prompts are compared with prompts of their size only, in steps of four times as many tokens: otherwise the
    longest would always be the late ones.
    """

    def __init__(self, options: HedgeOptions) -> None:
        self.options = options
        self._seen: dict[tuple[str, int], _Recent] = {}
        self._credit = 0.0

    @staticmethod
    def covers(call: Call) -> bool:
        return call.streams or call.surface.dialect in SHORT

    def delay(self, call: Call) -> float | None:
        """Seconds after which the call is late; None while too little is known."""
        seen = self._seen.get(_kind(call))
        if seen is None or len(seen) < self.options.minimum_calls:
            return None
        return max(self.options.minimum_delay, seen.percentile(self.options.percentile))

    def observe(self, call: Call, seconds: float) -> None:
        """The first event took this long, or at least this long where nobody waited for it any more."""
        seen = self._seen.get(_kind(call))
        if seen is None:
            seen = self._seen[_kind(call)] = _Recent()
        seen.add(seconds)

    def deposit(self) -> None:
        """A call has come that may have to be hedged."""
        self._credit = min(BURST, self._credit + self.options.budget_ratio)

    @property
    def affordable(self) -> bool:
        return self._credit >= 1.0 - _ROUNDING

    def withdraw(self) -> None:
        """Pay for a hedge that was affordable."""
        self._credit -= 1.0

    def __repr__(self) -> str:
        return f"<Hedge credit={self._credit:.2f} kinds={len(self._seen)}>"


def _kind(call: Call) -> tuple[str, int]:
    """Surface and size of the prompt; below 256 tokens all are equally small."""
    return call.surface.name, max(_SMALL, (call.prompt_estimate.bit_length() + 1) // 2)


class _Recent:
    """The latest times, in order of arrival and of length."""

    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        self._arrived: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        if len(self._arrived) >= KEPT:
            del self._sorted[bisect_left(self._sorted, self._arrived.popleft())]
        self._arrived.append(seconds)
        insort(self._sorted, seconds)

    def percentile(self, percent: float) -> float:
        """The nearest rank: so many percent took no longer."""
        return self._sorted[math.ceil(len(self._sorted) * percent / 100) - 1]

    def __len__(self) -> int:
        return len(self._sorted)
