"""Redis decides as one process's memory does: the same history, the same answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.state.memory import MemoryCounters
from app.state.redis import RedisCounters
from app.state.rule import Window, Windows, rule
from tests.clock import FakeClock

pytest_plugins = ("tests.redis_server",)


WALL = 1_795_000_000.0
WINDOWS = Windows(Window(WALL - 100, WALL + 900), Window(WALL - 1000, WALL + 9000))
TOMORROW = Windows(Window(WALL + 900, WALL + 1900), WINDOWS.month)
RULES = (
    rule("key", "key", "requests_per_minute", 60),
    rule("key", "key", "tokens_per_minute", 600),
    rule("key", "key", "concurrency", 3),
    rule("tnt", "tenant", "tokens_per_minute", 900),
    rule("tnt", "tenant", "tokens_per_day", 2000),
    rule("tnt", "tenant", "tokens_per_month", 5000),
    rule("none", "key", "requests_per_minute", 0),
)
CHOICES = [RULES[:1], RULES[1:3], RULES[:6], RULES[3:5], (RULES[5], RULES[0]), RULES[2:3], RULES]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "settle", "wait", "look", "tomorrow"]),
        st.integers(0, 700),
        st.integers(0, len(CHOICES) - 1),
    ),
    max_size=40,
)


@asynccontextmanager
async def sharing(url: str, clock: FakeClock, name: str = "one"):
    async def nothing() -> None:
        pass

    counters = RedisCounters(url, name, clock, own_time=True, patience=10.0)
    await counters.start(nothing)
    assert counters.up
    try:
        yield counters
    finally:
        await counters.aclose()


def told(decisions):
    return [
        (d.rule, d.allowed, d.limit, d.remaining, pytest.approx(d.reset_after), pytest.approx(d.retry_after))
        for d in decisions
    ]


@given(steps=STEPS, gateways=st.integers(1, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_history_gives_the_same_decisions(redis_url, steps, gateways):
    """Over one gateway, or over two in turn."""

    async def run() -> None:
        clock = FakeClock(wall=WALL)
        memory, windows, held = MemoryCounters(clock), WINDOWS, []
        async with (
            sharing(f"{redis_url}", clock, f"a{id(clock)}") as first,
            sharing(f"{redis_url}", clock, f"b{id(clock)}") as second,
        ):
            for turn, (step, number, choice) in enumerate(steps):
                shared = [first, second][turn % gateways]
                rules = CHOICES[choice]
                if step == "wait":
                    clock.advance(number / 100)
                elif step == "tomorrow":
                    windows = TOMORROW
                elif step == "look":
                    expected = await memory.look(rules, windows)
                    assert told(await shared.look(rules, windows)) == told(expected)
                elif step == "take":
                    expected = await memory.take(rules, number, windows)
                    grant = await shared.take(rules, number, windows)
                    assert grant.allowed == expected.allowed
                    assert told(grant.decisions) == told(expected.decisions)
                    held.append((shared, grant, expected))
                elif held:
                    owner, grant, expected = held.pop(number % len(held))
                    owner.settle(grant, number)
                    memory.settle(expected, number)
                    await owner.look((), windows)
                assert first.reserved + second.reserved == memory.reserved
            for owner, grant, _ in held:
                owner.settle(grant, 0)
            assert first.reserved == second.reserved == 0

    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    asyncio.run(run())
