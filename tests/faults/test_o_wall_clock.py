"""Overload on the wall clock: a real gateway, its engines and its callers, each a process (FAULTS, group O)."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.measure_overload import CAPACITY, MAX_WAIT, Gateway, body, gateway, measured
from tests.faults.openloop import Flow, elsewhere
from tests.supervised import wait

pytestmark = pytest.mark.long


@pytest.fixture
def served(tmp_path):
    with gateway(tmp_path) as found:
        yield found


async def test_o01_goodput_and_waits_hold_at_ten_times_the_capacity(served: Gateway):
    key = served.key("a")
    rows = {load: await measured(served, key, load, 20) for load in (0.8, 1.0, 2.0, 5.0, 10.0)}
    peak = max(row.goodput for row in rows.values())
    for load in (2.0, 5.0, 10.0):
        assert rows[load].goodput >= 0.9 * peak, rows
        assert rows[load].shed_p99 <= 0.1, rows
        assert rows[load].ttft_p99 <= 2 * rows[0.8].ttft_p99, rows
        assert not rows[load].others, rows
    assert rows[10.0].rss_mib <= 1.2 * rows[1.0].rss_mib, rows


async def test_o05_after_a_burst_all_is_as_before_within_five_seconds(served: Gateway):
    key, burst = served.key("a"), 3 * MAX_WAIT
    flows = [
        Flow("before", key, body(), rate=CAPACITY / 2, seconds=10, poisson=True),
        Flow("burst", key, body(), rate=10 * CAPACITY, seconds=burst, start=10, poisson=True),
        Flow("after", key, body(), rate=CAPACITY / 2, seconds=20, start=10 + burst, poisson=True),
    ]
    report = await elsewhere(served.url, flows)
    after = report.of("after", since=10 + burst + 5)
    assert set(after.statuses()) == {200}
    assert after.first_byte(99) <= 1.2 * report.of("before").first_byte(99)
    await asyncio.to_thread(wait, served.idle)


async def test_o07_a_flood_is_its_own_tenants_trouble(served: Gateway):
    """A asks for fifty times its requests a minute, whose burst it may not have at once; B for a few."""
    limits = {"limits": {"requests_per_minute": 600, "requests_burst": 10}}
    flooder, key = served.key("a", **limits), served.key("b")
    alone = await elsewhere(served.url, [Flow("b", key, body(), rate=4, seconds=40)])
    flows = [
        Flow("b", key, body(), rate=4, seconds=40),
        Flow("a", flooder, body(), rate=50 * 10, seconds=40, poisson=True),
    ]
    report = await elsewhere(served.url, flows)
    b, refused = report.of("b"), report.of("a", since=5).refused
    print(
        f"B alone {alone.first_byte(99):.3f} s, beside the flood {b.first_byte(99):.3f} s; A {refused.latency(99):.4f} s"
    )
    assert set(b.statuses()) == {200}
    assert b.first_byte(99) <= 1.2 * alone.first_byte(99)
    assert set(refused.statuses()) == {429}
    assert refused.latency(99) <= 0.02
    await asyncio.to_thread(wait, served.idle)
