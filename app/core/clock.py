"""Time as a part that can be replaced: monotonic for durations, wall for records, timers for deadlines."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A timer that has not fired yet."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What a part may know of time."""

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        ...

    def time(self) -> float:
        """Wall clock, seconds since the epoch."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` on the event loop after `delay` seconds."""
        ...

    async def sleep(self, delay: float) -> None: ...


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)
