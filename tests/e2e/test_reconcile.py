"""What simulated engines say they made is what the ledger holds, to the token."""

from __future__ import annotations

import asyncio

from app.simulator import Simulator
from tests.house import chat, running, until

SPAN = 86_400.0


async def balance(gateway):
    """Once every endpoint was scraped after its last token."""
    house = gateway.house
    endpoints = house.fleet.endpoints.values()
    await gateway.rows()
    for _ in range(2):  # the first one that ends may have begun before that token
        before = {e.name: e.scraped.scraped_at for e in endpoints}
        await until(lambda before=before: all(e.scraped.scraped_at != before[e.name] for e in endpoints))
    await house.storage.engines.keep()
    now = house.clock.time()
    answer = await gateway.client.get(
        f"{gateway.ops_url}/admin/v1/usage/reconcile",
        params={"start": now - SPAN, "end": now + 1},
        headers={"authorization": "Bearer an admin token of the tests"},
    )
    return answer.json()["data"]


async def test_engines_and_ledger_agree_and_other_users_of_an_engine_are_told_apart():
    engines = [Simulator(), Simulator()]
    async with running(engines, ops=True, scrape={"interval": 0.1}) as gateway:
        await until(lambda: all(e.scraped.scraped_at for e in gateway.house.fleet.endpoints.values()))
        await gateway.house.storage.engines.keep()
        await asyncio.gather(
            *(gateway.ask(f"hello {n}", max_tokens=5 + n, stream=n % 2 == 0) for n in range(20))
        )
        rows = await balance(gateway)
        assert [row["verdict"] for row in rows] == ["equal", "equal"]
        assert sum(row["completion_tokens"] for row in rows) == sum(
            e.truth.counters.generated_tokens for e in engines
        )
        for row in rows:
            assert (row["prompt_gap"], row["completion_gap"], row["restarts"]) == (0, 0, 0)
            assert row["prompt_tokens"] > 0
        await gateway.client.post(
            f"{engines[0].url}/v1/chat/completions", json=chat("not ours", max_tokens=7)
        )
        mixed = await balance(gateway)
        assert [row["verdict"] for row in mixed] == ["others", "equal"]
        assert (mixed[0]["completion_gap"], mixed[1]["completion_gap"]) == (7, 0)
