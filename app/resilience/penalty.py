"""How long an endpoint is set aside: twice as long each time, until it has been good for long."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.resilience.ejection import EjectionOptions


class Penalty:
    """`base_time`, doubled with every repetition up to `max_time`, +-10 %.

    For each stretch as long as the last one that it was good for, one repetition is forgotten.
    """

    def __init__(self, options: EjectionOptions, jitter: Callable[[], float] = random.random) -> None:
        self.options = options
        self._jitter = jitter
        self._times = 0
        self._last = 0.0
        self._ended = -math.inf

    def next(self, now: float) -> float:
        """Seconds to be out from now on."""
        options = self.options
        if self._times:
            self._times = max(0, self._times - int(max(0.0, now - self._ended) / self._last))
        longest = max(options.base_time, options.max_time)
        self._last = min(options.base_time * 2**self._times, longest)
        self._times += self._last < longest
        seconds = self._last * (0.9 + 0.2 * self._jitter())
        self._ended = now + seconds
        return seconds

    def forget(self) -> None:
        """As if it had never been out."""
        self._times = 0
