"""What a growing answer has taken is in the ledger while it grows: all that a killed gateway leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from app.simulator import Simulator
from app.store.orphans import Orphans, gateway_id
from tests.house import running
from tests.outages import assert_every_call_is_booked_once


async def open_row(gateway):
    """Once it holds tokens of the answer."""
    async with asyncio.timeout(10):
        while True:
            async for row in gateway.house.storage.reports.export():
                if row.completion_tokens:
                    return row
            await asyncio.sleep(0.01)


async def test_a_killed_gateway_leaves_the_last_checkpoint_and_a_living_one_the_truth():
    """A process with our own id was here before us: to a successor in this process this gateway is dead."""
    price = {"tiny": {"price": {"prompt": 1, "completion": 1000}}}
    async with running([Simulator(ttft=0.002, itl=0.02)], model_config=price) as gateway:
        storage = gateway.house.storage
        asking = asyncio.create_task(gateway.ask("150 tokens", stream=True))
        row = await open_row(gateway)
        (engine,) = gateway.simulators[0].truth.active
        assert (row.state, row.usage_source, row.endpoint, row.served_model) == (
            "open",
            "upstream",
            "gpu-a",
            "tiny",
        )
        assert row.prompt_tokens == engine.prompt_tokens
        assert 0 < row.completion_tokens <= engine.generated

        successor = Orphans(storage.database, gateway.house.clock, gateway_id())
        assert await successor.close() == 1
        crashed = await storage.reports.call(row.call_id)
        assert (crashed.state, crashed.finish, crashed.usage_source) == ("settled", "crashed", "estimated")
        assert crashed.completion_tokens >= row.completion_tokens
        assert crashed.cost == pytest.approx(
            (crashed.prompt_tokens + 1000 * crashed.completion_tokens) / 1_000_000
        )

        assert (await asking).text.endswith("data: [DONE]\n\n")
        await assert_every_call_is_booked_once(gateway)


async def test_a_hundred_growing_streams_are_written_again_once_a_second():
    async with running([Simulator(ttft=0.002, itl=0.02)]) as gateway:
        written = []
        store = gateway.house.storage.storing._store
        write = store.write

        async def counted(rows):
            written.extend(row for row in rows if row.state == "open" and row.completion_tokens)
            await write(rows)

        store.write = counted
        streams = [gateway.ask("100 tokens", stream=True) for _ in range(100)]
        assert {reply.status_code for reply in await asyncio.gather(*streams)} == {200}
        seen = max(row.elapsed_s for row in await gateway.rows())
        assert 100 <= len(written) <= 100 * seen
        await assert_every_call_is_booked_once(gateway)
