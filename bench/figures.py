"""Arithmetic of measurements: percentiles of one run, medians and ranges of several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Of several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError when there are none."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Round by round: what disturbs a round disturbs both."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True) if other])


def differences(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    return spread([one - other for one, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: int) -> float:
    """The least of the values that `share` percent of them do not exceed; 0 where there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]
