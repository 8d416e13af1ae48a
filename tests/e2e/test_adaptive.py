"""The moving limit before a simulated vLLM that runs eight sequences and queues the others without end."""

from __future__ import annotations

import asyncio
from statistics import mean

import pytest

from app.simulator import Simulator
from tests.house import PATIENT, SOON, running, until

KNEE = 8


@pytest.mark.long
async def test_the_limit_leaves_the_queue_to_the_gateway_and_shows_where_it_stands():
    """From four times too much. Every call succeeds, the waiting ones wait where another endpoint could take them."""
    engine = Simulator(ttft=0.05, itl=0.01, max_num_seqs=KNEE)
    resilience = PATIENT | {
        "adaptive": {"enabled": True, "min": 2, "initial": 4 * KNEE},
        "queue": {"max_wait": 60},
    }
    async with running([engine], resilience=resilience, scrape={"interval": 0.5}, ops=True) as gateway:
        bulkhead = gateway.house.fleet.endpoints["gpu-a"].bulkhead
        stop = asyncio.Event()
        statuses: list[int] = []

        async def calls() -> None:
            while not stop.is_set():
                statuses.append((await gateway.ask("30 tokens", stream=True)).status_code)

        callers = [asyncio.create_task(calls()) for _ in range(5 * KNEE)]
        try:
            await until(lambda: bulkhead.limit <= KNEE + KNEE // 2)
            limits = []
            while len(limits) < 100:
                limits.append(bulkhead.limit)
                await asyncio.sleep(0.03)
            page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
        finally:
            stop.set()
            async with asyncio.timeout(SOON):
                await asyncio.gather(*callers)
        assert set(statuses) == {200}
        assert KNEE * 0.5 <= mean(limits) <= KNEE * 1.5, limits
        (shown,) = [
            line for line in page.splitlines() if line.startswith("sluice_endpoint_concurrency_limit{")
        ]
        assert 2 <= float(shown.split()[-1]) <= 4 * KNEE
