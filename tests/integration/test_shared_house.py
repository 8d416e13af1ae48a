"""Whole gateways that share their limits in Redis."""

from __future__ import annotations

import asyncio
import sys

import pytest

from app.core.clock import SystemClock
from app.settings import ConfigError, Settings
from app.simulator import Simulator
from app.wiring.counters import open_shared
from tests.house import running, until

pytest_plugins = ("tests.redis_server",)


async def quota_left(gateway) -> int:
    key = await gateway.house.storage.keys.find(gateway.key)
    standing = await gateway.house.storage.limiter.standing(key)
    return {decision.rule: decision.remaining for _, decision in standing}["tokens_per_day"]


async def test_a_quota_outlives_an_emptied_redis_and_its_end(redis_server):
    async with running([Simulator()], redis_url=redis_server.url) as gateway:
        await gateway.limit(tokens_per_day=100_000, concurrency=50, requests_per_minute=100)
        answers = await asyncio.gather(*(gateway.ask(max_tokens=20) for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        assert answers[0].headers["x-ratelimit-limit-requests"] == "100"
        await gateway.stored()
        spent = sum(row.prompt_tokens + row.completion_tokens for row in await gateway.rows())
        assert await quota_left(gateway) == 100_000 - spent
        redis_server.flush()
        await gateway.ask(max_tokens=20)
        spent = sum(row.prompt_tokens + row.completion_tokens for row in await gateway.rows())
        async with asyncio.timeout(5):
            while await quota_left(gateway) != 100_000 - spent:
                await asyncio.sleep(0.01)
        redis_server.kill()
        assert (await gateway.ask(max_tokens=20)).status_code == 200
        assert gateway.house.status()["shared_limits"] == {"up": False, "gateways": 1}
        assert b"sluice_shared_limits_up 0.0" in gateway.house.metrics.exposition()
        redis_server.start()
        await until(lambda: gateway.house.storage.shared.up)
        assert b"sluice_shared_limits_up 1.0" in gateway.house.metrics.exposition()
        spent = sum(row.prompt_tokens + row.completion_tokens for row in await gateway.rows())
        async with asyncio.timeout(5):
            while await quota_left(gateway) != 100_000 - spent:
                await asyncio.sleep(0.01)


async def test_calls_that_hang_up_leave_nothing_held_in_redis(redis_url):
    async with running([Simulator(ttft=0.2)], redis_url=redis_url) as gateway:
        await gateway.limit(tokens_per_day=1_000_000, concurrency=100)
        callers = [await gateway.caller() for _ in range(20)]
        for caller in callers:
            caller.say(gateway.request(stream=True))
        await until(lambda: gateway.house.storage.shared.reserved)
        for caller in callers:
            caller.hang_up()
        await until(lambda: not gateway.house.storage.shared.reserved)


def test_without_its_package_redis_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.delitem(sys.modules, "app.state.redis", raising=False)
    monkeypatch.delitem(sys.modules, "app.state.redis_link", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    monkeypatch.delitem(sys.modules, "app.state.redis_courier", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'sluice-gateway\[redis\]'"):
        open_shared(Settings(redis_url="redis://h"), SystemClock(), "g")


def test_a_url_that_names_no_server_is_refused():
    with pytest.raises(ConfigError, match="redis_url"):
        open_shared(Settings(redis_url="redis://h:port"), SystemClock(), "g")
