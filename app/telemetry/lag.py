"""How late the event loop runs what is due: the first sign of work that does not yield."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.clock import Clock

INTERVAL = 0.25
SAMPLES = 120
LASTING = 3


class LoopLag:
    """`last` and `worst` in seconds, the latter over the last half minute. Whoever starts `run` ends it.

    `beats` grows while the loop runs, for whoever looks from another thread.
    `lasting` is what the last few samples have all reached: one long step is no overload.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[float] = deque([0.0] * LASTING, maxlen=SAMPLES)
        self.lasting = 0.0
        self.beats = 0

    @property
    def last(self) -> float:
        return self._samples[-1]

    @property
    def worst(self) -> float:
        return max(self._samples)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            asked = self._clock.monotonic()
            await self._clock.sleep(INTERVAL)
            self._samples.append(max(0.0, self._clock.monotonic() - asked - INTERVAL))
            self.beats += 1
            self.lasting = min(islice(reversed(self._samples), LASTING))

    def __repr__(self) -> str:
        return f"<LoopLag last={self.last:.3f} worst={self.worst:.3f}>"
