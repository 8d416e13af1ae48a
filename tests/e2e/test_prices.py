"""What a call cost is what it cost when it was made."""

from __future__ import annotations

from app.simulator import Simulator
from tests.house import running


async def test_a_new_price_holds_for_new_calls_and_changes_nothing_written():
    def priced(price):
        return {"tiny": {"price": {"completion": price}}}

    async with running([Simulator()], model_config=priced(1_000_000)) as gateway:
        await gateway.ask(max_tokens=3)
        before = await gateway.row()
        gateway.rewrite(model_config=priced(2_000_000))
        gateway.house.reload()
        await gateway.ask(max_tokens=3)
        rows = await gateway.rows()
        assert [row.cost for row in rows] == [3.0, 6.0]
        assert rows[0] == before
        assert (await gateway.house.storage.reports.summary())[0]["cost"] == 9.0
