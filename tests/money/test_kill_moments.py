"""kill -9 at the two moments that matter: before and after the row of a finished answer is durable."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

from app.simulator import Simulator
from tests.house import SOON, calls, until
from tests.money.load import DONE
from tests.money.process import GatewayProcess


@asynccontextmanager
async def stage(folder):
    """A gateway process on SQLite before one simulator, and a caller of its own."""
    async with Simulator(ttft=0.3, itl=0.001) as simulator:
        gateway = GatewayProcess(folder, f"sqlite:///{folder}/sluice.db", [simulator.url])
        await gateway.prepare()
        await gateway.start()
        caller = await gateway.caller()
        try:
            yield gateway, simulator, caller
        finally:
            gateway.kill()
            caller.hang_up()


async def only_row(gateway, state):
    async with asyncio.timeout(SOON):
        while not (rows := await gateway.rows(state)):
            await asyncio.sleep(0.02)
    (row,) = rows
    return row


async def restarted(gateway):
    """The only row after a new start, and after another one, which changes nothing any more."""
    found = []
    for _ in range(2):
        await gateway.start()
        await gateway.stop()
        (row,) = await gateway.rows()
        found.append(row)
    assert found[0] == found[1]
    return found[0]


async def test_s02_answer_booked_but_not_seen_whole_stays_booked_once(tmp_path):
    """The engine's stream hangs after its [DONE], which is time enough for the commit."""
    async with stage(tmp_path) as (gateway, simulator, caller):
        simulator.faults.add("no_end")
        caller.say(gateway.request("20 tokens", stream=True))
        row = await only_row(gateway, "settled")
        gateway.kill()
        assert DONE not in await caller.closed()
        assert await restarted(gateway) == row
        assert (row.finish, row.usage_source, row.completion_tokens) == ("stop", "upstream", 20)


async def test_s03_answer_finished_but_not_booked_is_closed_once_at_the_next_start(tmp_path):
    """The database is locked from the first token on, so that the end cannot be written."""
    async with stage(tmp_path) as (gateway, simulator, caller):
        caller.say(gateway.request("20 tokens", stream=True))
        await only_row(gateway, "open")
        with closing(sqlite3.connect(tmp_path / "sluice.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await until(lambda: calls(simulator) and simulator.truth.last.ended)
            gateway.kill()
        assert DONE not in await caller.closed()
        row = await restarted(gateway)
        assert (row.state, row.finish) == ("settled", "crashed")
        assert row.completion_tokens <= simulator.truth.last.generated == 20
