"""A limit on waiting for somebody else, which leaves out the time in which this process did not get to look."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TURNS = 8


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError once so many seconds have passed and the event loop has turned meanwhile.

    A loop that was held up runs its timers before it looks at its sockets, and would blame an endpoint or a
    database for an answer that has long been there. So the time is counted in pieces, and a piece that takes
    longer than it should counts as one.
    """
    loop = asyncio.get_running_loop()
    left = TURNS

    def count() -> None:
        nonlocal left, timer
        left -= 1
        if left:
            timer = loop.call_later(seconds / TURNS, count)
        else:
            limit.reschedule(loop.time())

    timer = loop.call_later(seconds / TURNS, count)
    try:
        async with asyncio.timeout(None) as limit:
            yield
    finally:
        timer.cancel()
