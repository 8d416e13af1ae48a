from __future__ import annotations

import asyncio

import pytest

from app.telemetry.lag import INTERVAL, SAMPLES, LoopLag
from tests.clock import FakeClock


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def lag(clock):
    lag = LoopLag(clock)
    task = asyncio.create_task(lag.run())
    await clock.run(0)
    yield lag
    task.cancel()
    await asyncio.wait({task})


async def test_a_loop_in_time_has_no_lag(lag, clock):
    await clock.run(10)
    assert (lag.last, lag.worst) == (0.0, 0.0)


async def test_a_blocked_loop_is_seen_and_remembered(lag, clock):
    clock.advance(INTERVAL + 0.5)
    await clock.run(0)
    assert lag.last == pytest.approx(0.5)
    await clock.run(1)
    assert lag.last == 0.0
    assert lag.worst == pytest.approx(0.5)
    assert repr(lag) == "<LoopLag last=0.000 worst=0.500>"


async def test_what_is_long_past_is_forgotten(lag, clock):
    clock.advance(INTERVAL + 0.5)
    await clock.run(INTERVAL * (SAMPLES + 1))
    assert lag.worst == 0.0


async def test_only_what_lasts_is_lasting(lag, clock):
    for late, lasting in ((0.5, 0.0), (0.3, 0.0), (0.4, 0.3), (0.0, 0.0)):
        clock.advance(INTERVAL + late)
        await clock.run(0)
        assert lag.lasting == pytest.approx(lasting)
