"""Limits on waiting for somebody else, which leave out the time in which this process did not get to look."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from app.core.clock import Clock

TURNS = 8


class Countdown:
    """Calls `over` once so many seconds have passed, and the event loop has turned a few times meanwhile.

    A loop that was held up runs its timers before it looks at its sockets and threads, and would blame an
    endpoint or a database for an answer that has long been there. So the time is counted in pieces, and a
    piece that takes longer than it should counts as one.
    """

    __slots__ = ("_clock", "_left", "_over", "_piece", "_timer")

    def __init__(self, clock: Clock, seconds: float, over: Callable[[], object]) -> None:
        self._clock = clock
        self._piece = seconds / TURNS
        self._left = TURNS
        self._over = over
        self._timer = clock.call_later(self._piece, self._count)

    def cancel(self) -> None:
        self._timer.cancel()

    def _count(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._clock.call_later(self._piece, self._count)
        else:
            self._over()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when a Countdown of so many seconds is over."""

    def over() -> None:
        limit.reschedule(asyncio.get_running_loop().time())

    countdown = Countdown(SystemClock(), seconds, over)
    try:
        async with asyncio.timeout(None) as limit:
            yield
    finally:
        countdown.cancel()
