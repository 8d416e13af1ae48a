"""kill -9 under load, again and again: what a caller saw whole is booked once, with the engine's own numbers."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from app.simulator import Simulator
from tests.money.audit import Audit
from tests.money.load import Load
from tests.money.process import GatewayProcess
from tests.postgres import postgres_server, postgres_url  # noqa: F401

CALLERS = 16
TENANTS = 3
SEED = 3
# A first word comes after an eighth of a second at least: a commit on a busy disk takes its time.
SPEED = {"ttft": 0.25, "itl": 0.002, "jitter": 0.5}


async def killed(gateway: GatewayProcess, rounds: int) -> Load:
    """So many times: start, find everything ended, load, kill. At last it ends in order."""
    load = Load(random.Random(SEED))
    try:
        for _ in range(rounds):
            await gateway.start()
            assert await gateway.rows("open") == []
            await load.run(gateway, CALLERS, load.chance.uniform(0.1, 0.6))
        await gateway.start()
        await gateway.stop()
    finally:
        gateway.kill()
    return load


@pytest.mark.parametrize(
    ("store", "rounds"),
    [("sqlite", 8), ("postgresql", 3), pytest.param("sqlite", 200, marks=pytest.mark.long)],
)
async def test_s01_no_answer_is_lost_or_doubled_by_a_kill(store, rounds, request, tmp_path):
    file = tmp_path / "sluice.db"
    url = request.getfixturevalue("postgres_url") if store == "postgresql" else f"sqlite:///{file}"
    async with Simulator(**SPEED, seed=1) as first, Simulator(**SPEED, seed=2) as second:
        gateway = GatewayProcess(tmp_path, url, [first.url, second.url])
        await gateway.prepare(TENANTS)
        load = await killed(gateway, rounds)
        records = [record for simulator in (first, second) for record in simulator.truth.records]
    audit = Audit(load, await gateway.rows(), {record.request_id: record for record in records})
    print(f"\n{store}: {rounds} rounds: {audit}")
    assert len(load.whole) > 10 * rounds
    assert (audit.lost, audit.doubled) == (set(), set())
    assert audit.unknown == set(), "an open row is written before an engine can say its first word"
    assert audit.differences() == []
    if store == "sqlite":
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
