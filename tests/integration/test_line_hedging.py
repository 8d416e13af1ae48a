"""Hedging over real sockets: what a late endpoint costs a caller, an engine, a tenant and the budget."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from app.simulator import Simulator
from tests.house import running, until

WARM = 24
"""Calls that teach the gateway how soon first events come."""


def hedged(transport: str = "direct", **options):
    hedge = {"enabled": True, "minimum_calls": 20, "minimum_delay": 0.2, "budget_ratio": 1.0, **options}
    return running(
        [Simulator(ttft=0.002, itl=0.001) for _ in range(2)],
        ops=True,
        transport=transport,
        routing={"strategy": "round_robin"},
        resilience={"hedge": hedge},
    )


async def warm(gateway) -> None:
    """One by one, so that a moment's pause of the machine is one late first event and not all of them."""
    for _ in range(WARM):
        assert (await gateway.ask("short", stream=True)).status_code == 200


async def attempts(gateway) -> dict[tuple[str, str], int]:
    """Of the metrics page, by outcome and reason."""
    page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
    found: dict[tuple[str, str], int] = {}
    for outcome, reason, count in re.findall(
        r'^sluice_attempts_total\{endpoint="[^"]*",outcome="(\w+)",reason="(\w+)"\} (\d+)', page, re.MULTILINE
    ):
        found[outcome, reason] = found.get((outcome, reason), 0) + int(count)
    return found


@pytest.mark.parametrize("transport", ["direct", "httpx"])
@pytest.mark.parametrize("fault", ["silent", "head_then_silence"])
async def test_callers_of_a_silent_endpoint_are_answered_by_another(transport, fault):
    """A second is longer than a busy machine keeps the other calls waiting, which are not to be hedged."""
    async with hedged(transport, minimum_delay=1.0) as gateway:
        await warm(gateway)
        a, b = gateway.simulators
        a.faults.add(fault, count=3)
        replies = [await gateway.ask("hello", stream=True) for _ in range(8)]
        assert {(reply.status_code, reply.text.endswith("data: [DONE]\n\n")) for reply in replies} == {
            (200, True)
        }
        late = [row for row in await gateway.rows() if row.attempts > 1]
        assert [(row.endpoint, row.state, row.finish) for row in late] == [("gpu-b", "settled", "stop")] * 3
        assert all(row.wasted_tokens > 0 for row in late)
        await until(lambda: sum(record.aborted is not None for record in a.truth.records) == 3)
        assert all(record.aborted is None for record in b.truth.records)
        assert (await attempts(gateway))["ignored", "hedge_lost"] == 3
        assert (await gateway.client.get(f"{gateway.ops_url}/metrics")).text.count(
            'retries_total{reason="hedge_lost"} 3'
        )
        assert [each.breaker.state for each in gateway.house.fleet.endpoints.values()] == ["closed"] * 2


async def test_the_slowest_calls_are_no_longer_slow():
    async def slowest(gateway) -> float:
        a, _ = gateway.simulators
        times = []
        for number in range(50):
            if number in {10, 30}:
                a.faults.add("delay", delay=1.5, match={"stream": True})
            began = time.monotonic()
            assert (await gateway.ask("short", stream=True)).status_code == 200
            times.append(time.monotonic() - began)
        return sorted(times)[-2]

    async with hedged() as gateway:
        await warm(gateway)
        hedging = await slowest(gateway)
    async with hedged(enabled=False) as gateway:
        await warm(gateway)
        waiting = await slowest(gateway)
    assert hedging < 1.5 <= waiting


async def test_hedges_stay_within_their_budget_when_everything_is_late():
    async with hedged(budget_ratio=0.05) as gateway:
        await warm(gateway)
        for simulator in gateway.simulators:
            simulator.adjust(ttft=0.6)
        replies = await asyncio.gather(*(gateway.ask("short", stream=True) for _ in range(56)))
        assert {reply.status_code for reply in replies} == {200}
        asked = sum(
            record.request_id is not None
            for simulator in gateway.simulators
            for record in simulator.truth.records
        )
        assert 1 <= asked - (WARM + 56) <= 0.05 * (WARM + 56)


async def test_short_answers_are_hedged_and_generated_ones_are_not():
    async with running(
        [Simulator(mode="pooling", ttft=0.002) for _ in range(2)],
        routing={"strategy": "round_robin"},
        resilience={"hedge": {"enabled": True, "minimum_calls": 5, "minimum_delay": 0.2, "budget_ratio": 1}},
    ) as gateway:
        body = {"model": "tiny", "input": "to be embedded"}
        for _ in range(6):
            assert (await gateway.post("/v1/embeddings", body)).status_code == 200
        gateway.simulators[0].faults.add("silent")
        replies = [await gateway.post("/v1/embeddings", body) for _ in range(2)]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert sorted(row.attempts for row in (await gateway.rows())[-2:]) == [1, 2]


async def test_a_model_is_hedged_by_its_own_section_and_a_reload_takes_it_back():
    async with running(
        [Simulator(ttft=0.002), Simulator(ttft=0.002)],
        model_config={"tiny": {"hedge": {"enabled": True, "minimum_calls": 5}}},
    ) as gateway:
        pool = gateway.house.fleet.pool("tiny")
        kept = pool.hedge
        assert (kept.options.enabled, kept.options.minimum_calls) == (True, 5)
        gateway.house.reload()
        assert pool.hedge is kept
        gateway.rewrite(model_config={"tiny": {"hedge": {"enabled": True, "percentile": 90}}})
        gateway.house.reload()
        assert pool.hedge.options.percentile == 90
        gateway.rewrite(model_config={})
        gateway.house.reload()
        assert pool.hedge is None
