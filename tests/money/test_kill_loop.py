"""kill -9 under load, again and again: what a caller saw whole is booked once, with the engine's own numbers."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter

import pytest

from app.simulator import Simulator
from tests.money.load import Load
from tests.money.process import GatewayProcess
from tests.postgres import postgres_server, postgres_url  # noqa: F401

CALLERS = 16
TENANTS = 3
SEED = 3


@pytest.mark.parametrize(
    ("store", "rounds"),
    [("sqlite", 20), ("postgresql", 5), pytest.param("sqlite", 200, marks=pytest.mark.long)],
)
async def test_s01_no_answer_is_lost_or_doubled_by_a_kill(store, rounds, request, tmp_path):
    url = (
        request.getfixturevalue("postgres_url")
        if store == "postgresql"
        else f"sqlite:///{tmp_path}/sluice.db"
    )
    speed = {"ttft": 0.01, "itl": 0.002, "jitter": 0.5}
    async with Simulator(**speed, seed=1) as first, Simulator(**speed, seed=2) as second:
        gateway = GatewayProcess(tmp_path, url, [first.url, second.url])
        await gateway.prepare(TENANTS)
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
        rows = await gateway.rows()
        truth = {record.request_id: record for sim in (first, second) for record in sim.truth.records}

    booked = Counter(row.call_id for row in rows)
    by_id = {row.call_id: row for row in rows}
    lost = load.whole.keys() - booked.keys()
    doubled = [call for call, times in booked.items() if times > 1]
    finished = {call for call, record in truth.items() if record.finish == ["stop"]}
    crashed = {row.call_id for row in rows if row.finish == "crashed"}
    print(
        f"\n{store}: {rounds} rounds, {len(load.whole)} whole answers, {len(lost)} lost, {len(doubled)} doubled;"
        f" {len(rows)} rows, {len(crashed)} crashed, of which the engine had finished {len(crashed & finished)};"
        f" {len(booked.keys() - crashed - load.whole.keys())} booked whose end nobody saw;"
        f" {len(load.begun - booked.keys())} begun without a row; other answers {Counter(load.other)}"
    )
    assert len(load.whole) > 10 * rounds
    assert (lost, doubled) == (set(), [])
    for call, told in load.whole.items():
        row, record = by_id[call], truth[call]
        assert (row.state, row.usage_source, row.finish) == ("settled", "upstream", "stop")
        assert (row.prompt_tokens, row.completion_tokens) == (record.prompt_tokens, record.generated)
        assert told in (None, record.generated)
    for row in rows:
        assert row.state in {"settled", "void"}
        if row.usage_source == "upstream" and row.finish != "crashed":
            record = truth[row.call_id]
            assert (row.prompt_tokens, row.completion_tokens) == (record.prompt_tokens, record.generated)
        elif row.usage_source == "upstream":
            assert row.completion_tokens <= truth[row.call_id].generated
    if store == "sqlite":
        with sqlite3.connect(tmp_path / "sluice.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
