"""A clock that only moves when a test says so; due timers and sleepers run in order as it moves."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Implements app.core.clock.Clock."""

    def __init__(self, now: float = 1_000.0, wall: float = 1_795_000_000.0) -> None:
        self.now = now
        self.wall = wall
        self._due: list[tuple[float, int, FakeTimer]] = []
        self._order = count()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._due, (self.now + delay, next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_later(delay, lambda: woken.done() or woken.set_result(None))
        await woken

    def advance(self, seconds: float) -> None:
        """Move time forward, firing every timer that falls due on the way, at its own time."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            due, _, timer = heapq.heappop(self._due)
            if timer.callback is not None:
                self._move(due)
                callback, timer.callback = timer.callback, None
                callback()
        self._move(end)

    async def run(self, seconds: float) -> None:
        """`advance`, letting woken tasks run between the timers."""
        end = self.now + seconds
        await settle()
        while self._due and self._due[0][0] <= end:
            self.advance(max(0.0, self._due[0][0] - self.now))
            await settle()
        self.advance(max(0.0, end - self.now))
        await settle()

    def _move(self, to: float) -> None:
        self.wall += to - self.now
        self.now = to


async def settle(turns: int = 10) -> None:
    """Let everything that can run without time passing run."""
    for _ in range(turns):
        await asyncio.sleep(0)
