"""The end that no gateway can tell of: it was killed while an answer was under way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from app.simulator import Simulator
from app.store.usage import UsageRow
from tests.house import SOON, calls, until
from tests.money.account import Account
from tests.money.cells import Column
from tests.money.process import GatewayProcess
from tests.money.scenes import PADDING, STALL, STRUCK


async def killed(column: Column, folder: Path) -> Account:
    """One call, cut by SIGKILL once the engine has made STRUCK tokens and the ledger could know of them."""
    options: dict[str, Any] = {"ttft": 0.01, "itl": 0.01, "reasoning_parser": True}
    model = {"json_upstream": "stream"} if column == "json via stream" else {}
    async with Simulator(**options) as simulator:
        gateway = GatewayProcess(
            folder, f"sqlite:///{folder}/sluice.db", [simulator.url], model_config={"tiny": model}
        )
        await gateway.prepare()
        await gateway.start()
        try:
            simulator.faults.add(STALL)
            caller = await gateway.caller()
            caller.say(gateway.request(PADDING + "forever", stream=column == "stream"))
            await until(lambda: calls(simulator) and simulator.truth.last.generated == STRUCK)
            await _written(gateway, STRUCK if column != "json" else 0)
        finally:
            gateway.kill()
        caller.hang_up()
        await gateway.start()
        await gateway.stop()
        (row,) = await gateway.rows()
        return Account("gone", None, row, calls(simulator))


async def _written(gateway: GatewayProcess, tokens: int) -> None:
    """Wait for an open row with so many tokens."""
    rows: list[UsageRow] = []
    async with asyncio.timeout(SOON):
        while not rows or rows[0].completion_tokens < tokens:
            await asyncio.sleep(0.05)
            rows = await gateway.rows()
