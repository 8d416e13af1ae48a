"""Gateways as far as they count: several in one process, before one Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import count

from app.core.clock import SystemClock
from app.state.redis import RedisCounters
from app.state.rule import Window, Windows

_numbers = count()


def windows(clock=None) -> Windows:
    """An hour within a day, as it were."""
    now = (clock or SystemClock()).time()
    return Windows(Window(now // 3600 * 3600, now // 3600 * 3600 + 7200), Window(0.0, now + 9000))


class Seeds:
    """A ledger: what it says of quotas is booked; `asked` counts."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []
        self.asked = 0

    def of(self, counters):
        async def seed() -> None:
            self.asked += 1
            for row in self.rows:
                counters().book(*row)

        return seed


@asynccontextmanager
async def gateways(
    url: str, number: int = 1, *, clock=None, seeds: Seeds | None = None, own_time=False, patience=5.0
):
    seeds = seeds or Seeds()
    opened: list[RedisCounters] = []
    try:
        for _ in range(number):
            made = RedisCounters(
                url, f"g{next(_numbers)}", clock or SystemClock(), own_time=own_time, patience=patience
            )
            opened.append(made)
            await made.start(seeds.of(lambda made=made: made))
        yield opened
    finally:
        for each in opened:
            await each.aclose()


async def until(true, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


async def timed(awaitable):
    """What it gives, and the seconds it took."""
    began = time.perf_counter()
    found = await awaitable
    return found, time.perf_counter() - began


@asynccontextmanager
async def machine():
    """What it gives tells the worst delay of this loop so far, in seconds: the machine's, not Redis's."""
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.002)
            worst = max(worst, time.perf_counter() - began - 0.002)

    watching = asyncio.create_task(watch())
    try:
        yield lambda: worst
    finally:
        watching.cancel()
        await asyncio.wait({watching})
