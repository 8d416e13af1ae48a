"""When streams write their events: back to back, spread evenly over the interval, or all at the same moment."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Protocol

_FINEST = 0.001
"""Seconds; the loop's timers are no finer."""


class Ticking(Protocol):
    def tick(self) -> None: ...


class Pace:
    """A wheel of places; streams get theirs in turn, each place ticks once an interval.

    A wheel that runs late catches up for an interval at most. `math.inf` never ticks.
    """

    def __init__(self, interval: float, step: bool = False) -> None:
        finite = math.isfinite(interval)
        count = max(1, round(interval / _FINEST)) if finite and not step else 1
        self._places: list[set[Ticking]] = [set() for _ in range(count)]
        self._turn = itertools.cycle(self._places)
        self._where: dict[Ticking, set[Ticking]] = {}
        self._interval = interval
        self._width = interval / count
        self._running = not finite

    def join(self, stream: Ticking) -> None:
        place = self._where[stream] = next(self._turn)
        place.add(stream)
        if not self._running:
            self._running = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._tick, 0, loop.time())

    def leave(self, stream: Ticking) -> None:
        place = self._where.pop(stream, None)
        if place is not None:
            place.discard(stream)

    def _tick(self, number: int, due: float) -> None:
        for stream in tuple(self._places[number]):
            stream.tick()
        loop = asyncio.get_running_loop()
        if not any(self._places):
            self._running = False
        elif self._interval == 0:
            loop.call_soon(self._tick, 0, due)
        else:
            due = max(due + self._width, loop.time() - self._interval)
            loop.call_at(due, self._tick, (number + 1) % len(self._places), due)
