"""A herd at the edge of a minute (FAULTS, group O), in virtual time: the edge is nowhere to be found."""

from __future__ import annotations

import pytest

from app.core.errors import RateLimitExceeded
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.guards import LimitGuard
from app.tenancy.limiter import Limiter
from tests.clock import FakeClock
from tests.fakes import make_call

MINUTE = 1_795_000_020.0
"""Wall clock, at a full minute."""


@pytest.mark.parametrize("told", ["at the edge", "by Retry-After"])
async def test_o14_a_thousand_callers_who_wake_at_the_minute_get_no_second_bucket(told):
    clock = FakeClock(wall=MINUTE - 0.1)
    guard = LimitGuard(Limiter(MemoryCounters(clock), clock, Calendar("UTC")))
    key = Key("key_1", Tenant("tnt_1", "team", Limits(requests_per_minute=100)))

    async def herd() -> tuple[int, list[float]]:
        admitted, waits = 0, []
        for _ in range(1000):
            try:
                await guard.admit(make_call(key=key, started_at=clock.time()))
            except RateLimitExceeded as error:
                waits.append(error.retry_after or 0.0)
            else:
                admitted += 1
        return admitted, waits

    first, waits = await herd()
    assert first == 100
    wait = 0.2 if told == "at the edge" else min(waits)
    clock.advance(wait)
    second, _ = await herd()
    assert second <= 100 * wait / 60 + 1
    assert second >= (told == "by Retry-After"), "who is told when to come back is not told in vain"
