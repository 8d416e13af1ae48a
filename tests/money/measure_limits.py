"""What limits cost: CPU of one admission with its settlement, by rules and by tenants.

python -m tests.money.measure_limits [calls]
"""

from __future__ import annotations

import sys
import time

from app.core.clock import SystemClock
from app.core.outcome import Outcome, Settlement, Usage
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from tests.fakes import make_call

PLENTY = 10**9
RULES = {
    0: Limits(),
    3: Limits(requests_per_minute=PLENTY, tokens_per_minute=PLENTY, concurrency=PLENTY),
    5: Limits(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY),
}
ROUNDS = 5
IN_FLIGHT = 64


def cost(limits: Limits, tenants: int, calls: int) -> tuple[float, float]:
    """Microseconds of CPU per call: admission and settlement; the quietest of some rounds."""
    clock = SystemClock()
    limiter = Limiter(MemoryCounters(clock), clock, Calendar())
    keys = [Key(f"key_{n}", Tenant(f"tnt_{n}", f"team {n}", limits)) for n in range(tenants)]
    made = [
        make_call(key=keys[n % tenants], completion_limit=100, started_at=clock.time()) for n in range(calls)
    ]
    ended = Settlement(Outcome.SUCCESS, Usage(7, 90))
    rounds = []
    for _ in range(ROUNDS):
        admits = settles = 0.0
        for first in range(0, calls, IN_FLIGHT):
            some = made[first : first + IN_FLIGHT]
            began = time.process_time()
            releases = [admitted(limiter, call) for call in some]
            between = time.process_time()
            for release in releases:
                release(ended)
            admits, settles = admits + between - began, settles + time.process_time() - between
            for call in some:
                call.decisions.clear()
        rounds.append((admits, settles))
    return tuple(min(each) / calls * 1e6 for each in zip(*rounds, strict=True))


def admitted(limiter, call):
    """Counting in this process never waits."""
    try:
        limiter.admit(call).send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print("rules  tenants  admit µs  settle µs  together µs")
    for rules, limits in RULES.items():
        for tenants in (32, 3200):
            admit, settle = cost(limits, tenants, calls)
            print(f"{rules:5}  {tenants:7}  {admit:8.2f}  {settle:9.2f}  {admit + settle:11.2f}")


if __name__ == "__main__":
    main()
