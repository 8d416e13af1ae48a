"""What a key may see of itself."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from app.api import me, problems
from app.core.errors import InvalidKey
from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from tests.clock import FakeClock
from tests.unit.upstream.fleets import make_call

TENANT = Tenant(
    "tnt_1",
    "team",
    Limits(requests_per_minute=10, tokens_per_day=10_000),
    {"m": Limits(concurrency=1)},
    frozenset("abc"),
)
KEY = Key("key_1", TENANT, "ci", Limits(concurrency=3), frozenset("bcd"), expires_at=1_900_000_000.0)


class OneKey:
    def __init__(self, key: Key) -> None:
        self.key = key

    def known(self, secret: str) -> Key | None:
        return self.key if secret == "sk-1" else None

    async def find(self, secret: str) -> Key:
        raise InvalidKey


class Asked:
    """Reports that remember the question."""

    def __init__(self) -> None:
        self.questions: list[tuple] = []

    async def summary(self, which, group_by) -> list[dict]:
        self.questions.append((which, group_by))
        return [{"day": "2026-11-18", "requests": 2, "total_tokens": 60}]


@pytest.fixture
def clock():
    return FakeClock()


async def ask(clock, key=KEY, headers=None, limiter=None):
    app, usage = FastAPI(), Asked()
    problems.install(app)
    limiter = limiter or Limiter(MemoryCounters(clock), clock, Calendar())
    app.include_router(me.router(OneKey(key), limiter, usage, clock))
    headers = {"authorization": "Bearer sk-1"} if headers is None else headers
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gw") as client:
        return await client.get("/v1/me", headers=headers), usage.questions


async def test_a_key_sees_who_it_is_and_what_it_may(clock):
    answer, _ = await ask(clock)
    told = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (told["object"], told["id"], told["name"], told["tenant"]) == ("key", "key_1", "ci", "team")
    assert (told["models"], told["expires_at"]) == (["b", "c"], 1_900_000_000.0)
    assert told["model_limits"]["m"]["concurrency"] == 1


async def test_a_key_sees_what_is_used_of_each_limit(clock):
    limiter = Limiter(MemoryCounters(clock), clock, Calendar())
    call = make_call(prompt_estimate=100, completion_limit=50)
    call.key = KEY
    call.started_at = clock.time()
    await limiter.admit(call)
    limits = (await ask(clock, limiter=limiter))[0].json()["limits"]
    assert [(row["of"], row["rule"], row["limit"], row["used"], row["remaining"]) for row in limits] == [
        ("tenant", "requests_per_minute", 10, 1, 9),
        ("tenant", "tokens_per_day", 10_000, 150, 9_850),
        ("key", "concurrency", 3, 1, 2),
    ]
    assert 0 < limits[1]["reset_s"] <= 86_400


async def test_a_key_sees_its_own_usage_of_the_last_days_alone(clock):
    answer, questions = await ask(clock)
    assert answer.json()["usage"] == [{"day": "2026-11-18", "requests": 2, "total_tokens": 60}]
    ((which, group_by),) = questions
    assert (which.tenant_id, which.key_id, group_by) == ("tnt_1", "key_1", ["day"])
    assert which.start == clock.time() - 30 * 86_400


async def test_a_key_without_bounds_has_none(clock):
    told = (await ask(clock, key=Key("key_2", Tenant("tnt_2", "free"))))[0].json()
    assert (told["models"], told["limits"], told["expires_at"]) == (None, [], None)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-2"}, {"x-tenant-id": "tnt_1"}])
async def test_nobody_else_sees_anything(clock, headers):
    answer, questions = await ask(clock, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"], questions) == (401, "invalid_api_key", [])
