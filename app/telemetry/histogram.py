"""Times counted into buckets that fit LLM calls: 5 ms to 20 minutes."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BUCKETS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1200.0,
)
_BOUNDS = (*(str(bound) for bound in BUCKETS), "+Inf")


class Histogram:
    """One series; observing costs a search among the buckets and two additions."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bounds with the number of observations up to each, as Prometheus has them."""
        return list(zip(_BOUNDS, accumulate(self._counts), strict=True))
