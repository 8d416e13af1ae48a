"""How far engines' counters grew within a span, from the rows that were kept of them. Pure.

A counter that began under our eyes grew from nothing; one that was there before, from what was first seen.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Kept(NamedTuple):
    """A row of engine_counts, without its endpoint."""

    series: str
    life: float
    start: int
    first_at: float
    first_prompt: int
    first_completion: int
    last_at: float
    last_prompt: int
    last_completion: int


class Growth(NamedTuple):
    """`since`: when the first look was, if that was within the span. `blind`: spans nobody looked at."""

    prompt: int
    completion: int
    restarts: int
    since: float
    blind: Sequence[tuple[float, float]]


def growth(rows: Iterable[Kept], looked_since: float, start: int, end: int) -> Growth | None:
    """Of one endpoint; None when nobody looked in the span.

    Of the rows before the span each life's last will do; `looked_since` is when the first of all was seen.
    """
    lives: dict[tuple[str, float], list[Kept]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.start):
        if row.start < end:
            lives[row.series, row.life].append(row)
    known = [row for life in lives.values() for row in life]
    if not any(row.start >= start for row in known):
        return None
    prompt = completion = restarts = 0
    blind = [(max(row.last_at for row in known), float(end))]
    for (series, life), seen in lives.items():
        if seen[-1].start < start:
            continue
        before = [row for row in seen if row.start < start]
        fresh = life > looked_since
        base = (0, 0) if fresh else (seen[0].first_prompt, seen[0].first_completion)
        if before:
            base = (before[-1].last_prompt, before[-1].last_completion)
        elif fresh:
            restarts += 1
            former = [row.last_at for row in known if row.series == series and row.last_at < seen[0].first_at]
            blind.append((max(former, default=life), seen[0].first_at))
        prompt += seen[-1].last_prompt - base[0]
        completion += seen[-1].last_completion - base[1]
    earlier = [row.last_at for row in known if row.start < start]
    if earlier:
        blind.append((max(earlier), float(start)))
    return Growth(prompt, completion, restarts, max(looked_since, float(start)), blind)
