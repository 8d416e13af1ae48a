"""A limit changed while a gateway runs: in force within a second, and what was used stays used."""

from __future__ import annotations

import asyncio
import time

from app.core.clock import SystemClock
from app.simulator import Simulator
from app.store.changes import Changes
from app.store.database import Database
from app.store.tenants import Tenants
from tests.house import chat, running, until

WITHIN = 1.0
"""Seconds: the promise for every process."""


async def standing(gateway) -> dict[str, dict]:
    """The limits as the key sees them, by rule."""
    about = (await gateway.client.get("/v1/me")).json()
    return {limit["rule"]: limit for limit in about["limits"]}


async def test_a_rate_goes_up_down_and_away_and_comes_back_with_what_was_used():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(requests_per_minute=3)
        assert [(await gateway.ask()).status_code for _ in range(4)] == [200, 200, 200, 429]

        await gateway.limit(requests_per_minute=5)
        answers = [await gateway.ask() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[1].headers["x-ratelimit-limit-requests"] == "5"

        await gateway.limit(requests_per_minute=2)
        refused = await gateway.ask()
        assert refused.status_code == 429
        assert "limit 2 requests per minute, 0 left" in refused.json()["error"]["message"]

        await gateway.limit(requests_per_minute=None)
        lifted = await gateway.ask()
        assert lifted.status_code == 200
        assert "x-ratelimit-limit-requests" not in lifted.headers

        await gateway.limit(requests_per_minute=4)
        assert (await gateway.ask()).status_code == 429


async def test_a_quota_keeps_what_was_used_of_it_under_any_limit():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(tokens_per_day=100_000)
        assert (await gateway.ask("40 tokens", max_tokens=50)).status_code == 200
        used = (await standing(gateway))["tokens_per_day"]["used"]
        row = await gateway.row()
        assert used == row.prompt_tokens + row.completion_tokens > 40

        await gateway.limit(tokens_per_day=used + 5)
        refused = await gateway.ask("40 tokens", max_tokens=5)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        await gateway.limit(tokens_per_day=5)
        refused = await gateway.ask("40 tokens", max_tokens=50)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "request_exceeds_limit")

        await gateway.limit(tokens_per_day=None)
        assert (await gateway.ask("40 tokens", max_tokens=50)).status_code == 200
        rows = await gateway.rows()
        await gateway.limit(tokens_per_day=100_000, tokens_per_month=100_000)
        counted = sum(row.prompt_tokens + row.completion_tokens for row in rows)
        assert {limit["used"] for limit in (await standing(gateway)).values()} == {counted}


async def test_what_runs_counts_under_a_limit_that_is_changed_meanwhile():
    async with running([Simulator(ttft=0, itl=0.02)]) as gateway:
        await gateway.limit(concurrency=2, tokens_per_minute=10_000)
        callers = [await gateway.caller() for _ in range(2)]
        for caller in callers:
            caller.say(gateway.request("forever", stream=True, max_tokens=1000))
            await caller.reader.readuntil(b"data:")
        assert (await gateway.ask()).status_code == 429
        await gateway.limit(concurrency=3)
        assert (await gateway.ask(max_tokens=1)).status_code == 200
        await gateway.limit(concurrency=1)
        callers.pop().hang_up()
        assert (await gateway.ask(max_tokens=1)).status_code == 429
        callers.pop().hang_up()
        await until(lambda: not gateway.house.hearing.inflight.by_model())
        assert (await gateway.ask(max_tokens=1)).status_code == 200


async def test_a_change_made_in_another_process_is_in_force_within_a_second():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        assert (await gateway.ask()).status_code == 200
        url = gateway.house.settings.database_url.get_secret_value()
        database, clock = Database(url), SystemClock()
        changes = Changes(database, clock)
        elsewhere = Tenants(database, changes, clock)
        try:
            for limits, status in (({"concurrency": 0}, 429), ({"concurrency": 1}, 200), (None, 200)):
                await elsewhere.update(gateway.tenant_id, {"limits": limits})
                changed = time.monotonic()
                while (await gateway.post("/v1/chat/completions", chat())).status_code != status or (
                    limits != await limits_seen(gateway)
                ):
                    assert time.monotonic() - changed < WITHIN
                    await asyncio.sleep(0.02)
        finally:
            await changes.aclose()
            await database.aclose()


async def limits_seen(gateway) -> dict[str, int] | None:
    return {rule: limit["limit"] for rule, limit in (await standing(gateway)).items()} or None
