"""What a check in Redis costs: processor time of gateway and Redis, and the wait. `python -m tests.money.measure_shared`."""

from __future__ import annotations

import asyncio
import statistics
import time
from itertools import count

import uvloop

from app.core.clock import SystemClock
from app.state.memory import MemoryCounters
from app.state.rule import rule
from tests.redis_server import serving
from tests.sharing import gateways, windows

CHECKS = 40_000
PLENTY = 10**12


def tenant(number: int):
    """Three rules, as most tenants have."""
    return (
        rule(f"key{number}", "key", "requests_per_minute", PLENTY),
        rule(f"tnt{number}", "tenant", "tokens_per_minute", PLENTY),
        rule(f"tnt{number}", "tenant", "tokens_per_day", PLENTY),
    )


async def checks(counters, tenants: int, in_flight: int, number: int, pause: float) -> list[float]:
    """Seconds that each of so many takes waited; each is settled, and `pause` is between two of a caller."""
    rules, period, waits, turn = [tenant(each) for each in range(tenants)], windows(), [], count()

    async def call() -> None:
        while (at := next(turn)) < number:
            began = time.perf_counter()
            grant = await counters.take(rules[at % tenants], 600, period)
            waits.append(time.perf_counter() - began)
            counters.settle(grant, 300)
            if pause:
                await asyncio.sleep(pause)

    await asyncio.gather(*(call() for _ in range(in_flight)))
    return waits


async def measured(what: str, counters, tenants: int, in_flight: int, server=None, pause=0.0) -> None:
    number = CHECKS if in_flight > 1 and not pause else CHECKS // 10
    await checks(counters, tenants, in_flight, number // 10, pause)
    redis, used, began = (server.cpu if server else 0.0), time.process_time(), time.perf_counter()
    waits = await checks(counters, tenants, in_flight, number, pause)
    took, used = time.perf_counter() - began, time.process_time() - used
    redis = (server.cpu if server else 0.0) - redis
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"{what:8} {tenants:5} tenants {in_flight:4} in flight  {used / number * 1e6:6.1f} us gateway"
        f"  {redis / number * 1e6:6.1f} us Redis  {number / took:9,.0f}/s"
        f"  wait p50 {cuts[49] * 1e3:6.3f} ms  p99 {cuts[98] * 1e3:6.3f} ms"
    )


async def main() -> None:
    print("one check = take of 3 rules and its settle")
    await measured("memory", MemoryCounters(SystemClock()), 32, 64)
    with serving() as server:
        async with gateways(server.url, patience=1.0) as (shared,):
            for tenants, in_flight in ((1, 64), (32, 64), (3200, 64), (32, 1), (32, 256)):
                await measured("redis", shared, tenants, in_flight, server)
            await measured("paced", shared, 32, 20, server, pause=0.04)
            server.kill()
            await measured("share", shared, 32, 64)


if __name__ == "__main__":
    uvloop.run(main())
