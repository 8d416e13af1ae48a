"""Time that only moves when the script says so, and in which chores never fall due."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHORE = 0.2
"""Seconds; whoever sleeps for so long is not part of any call."""

_WALL = 1_795_000_000.0


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ScriptClock:
    """Implements app.core.clock.Clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, _Timer]] = []
        self._order = count()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return _WALL + self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> _Timer:
        timer = _Timer(callback)
        if delay < CHORE:
            heapq.heappush(self._due, (self._now + delay, next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self.call_later(delay, wake)
        await woken

    def advance(self, seconds: float) -> None:
        """Fires what falls due, in order."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._now, _, timer = heapq.heappop(self._due)
            if timer.callback is not None:
                timer.callback()
        self._now = end
