"""Ways around a limit that are none: more keys, a new secret, more choices, leaving early."""

from __future__ import annotations

import asyncio

import httpx

from app.simulator import Simulator
from tests.house import chat, running, until


async def test_another_key_and_a_rotated_one_meet_what_was_used():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(requests_per_minute=4)
        keys = gateway.house.storage.stored_keys
        other, secret = await keys.create(gateway.tenant_id)

        async def ask(with_secret: str) -> int:
            async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
                headers = {"authorization": f"Bearer {with_secret}"}
                answer = await client.post("/v1/chat/completions", json=chat(), headers=headers)
                return answer.status_code

        assert [await ask(gateway.key), await ask(secret)] == [200, 200]
        _, rotated = await keys.rotate(other.id)
        assert [await ask(rotated), await ask(gateway.key)] == [200, 200]
        assert [await ask(rotated), await ask(gateway.key), await ask(secret)] == [429, 429, 401]


async def test_every_choice_is_reserved_and_billed():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(tokens_per_day=500)
        many = await gateway.ask("20 tokens", n=8, max_tokens=100)
        assert (many.status_code, many.json()["error"]["code"]) == (400, "request_exceeds_limit")
        assert (await gateway.ask("20 tokens", n=4, max_tokens=25)).status_code == 200
        row = await gateway.row()
        assert row.completion_tokens >= 4 * 20
        (limit,) = (await gateway.client.get("/v1/me")).json()["limits"]
        assert limit["used"] == row.prompt_tokens + row.completion_tokens


async def test_who_leaves_early_pays_for_what_was_generated():
    async with running([Simulator(ttft=0, itl=0.005)]) as gateway:
        await gateway.limit(tokens_per_day=100_000, concurrency=1)
        for _ in range(3):
            caller = await gateway.caller()
            caller.say(gateway.request("forever", stream=True, max_tokens=1000))
            for _ in range(10):
                await caller.reader.readuntil(b"data:")
            assert (await gateway.ask()).status_code == 429
            caller.hang_up()
            await until(lambda: not gateway.house.hearing.inflight.by_model())
        rows = await gateway.rows()
        assert all(row.completion_tokens >= 8 for row in rows)
        limits = {each["rule"]: each for each in (await gateway.client.get("/v1/me")).json()["limits"]}
        billed = sum(row.prompt_tokens + row.completion_tokens for row in rows)
        assert limits["tokens_per_day"]["used"] == billed
        assert limits["concurrency"]["used"] == 0


async def test_an_answer_longer_than_the_quota_is_finished_and_the_next_waits_for_the_period():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(tokens_per_day=100)
        answer = await gateway.ask("300 tokens")
        assert answer.status_code == 200
        assert answer.json()["usage"]["completion_tokens"] >= 300
        refused = await gateway.ask(max_tokens=1)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert refused.headers["x-should-retry"] == "false"


async def test_what_settled_calls_teach_reaches_the_next_reservation():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        await gateway.limit(tokens_per_minute=10**6)
        text = "a few words of English " * 100
        first = gateway.house.hearing.prompts.ratio.of("tiny")
        await asyncio.gather(*(gateway.ask(f"{text} 9 tokens") for _ in range(40)))
        rows = await gateway.rows()
        assert gateway.house.hearing.prompts.ratio.of("tiny") != first
        estimates = gateway.house.storage.limiter._answers
        assert (
            max(row.completion_tokens for row in rows) <= estimates.expected(gateway.tenant_id, "tiny") < 20
        )
