"""What a process left in its journal: over before the next one serves, counted, and dearer than any guess."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.outcome import Outcome, Settlement, Usage
from app.settings import Settings
from app.store.journal import Journal
from app.store.migrate import migrate
from app.store.orphans import gateway_id
from app.wiring.storage import open_storage
from tests.fakes import make_call
from tests.outages import SECRET
from tests.stores import usage_row

pytest_plugins = ("tests.postgres",)

DONE = Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop")


@pytest.fixture
async def settings(store_url, tmp_path):
    await asyncio.to_thread(migrate, store_url)
    journal = {"path": str(tmp_path / "journal.db")}
    return Settings(database_url=store_url, secret=SECRET, ledger={"journal": journal})


async def storage_of(settings):
    return await open_storage(settings, SystemClock(), lambda rows, seconds: None)


async def left(settings, *rows):
    """By a process that is dead now."""
    journal = Journal(Path(settings.ledger.journal.path), 2**20)
    await journal.open()
    for row in rows:
        await journal.write([row])
    await journal.aclose()


async def test_a_journal_row_wins_over_the_guess_and_an_open_one_is_closed(settings):
    dead = gateway_id()
    now = SystemClock().time()
    known = {"gateway": dead, "started_at": now}
    storage = await storage_of(settings)
    await storage.storing.write(
        [
            usage_row("guessed", finish="crashed", usage_source="estimated", completion_tokens=0, **known),
            usage_row("open", state="open", finish=None, completion_tokens=0, **known),
        ]
    )
    await storage.aclose()
    await left(
        settings,
        usage_row("guessed", **known),
        usage_row("open", state="open", finish=None, completion_tokens=15, **known),
        usage_row("unknown", state="open", finish=None, completion_tokens=5, **known),
        usage_row("guessed", **known),
    )
    storage = await storage_of(settings)
    assert storage.journal.backlog == 4
    await storage.start()
    assert storage.journal.backlog == 0
    rows = {row.call_id: row async for row in storage.reports.export()}
    assert rows.pop("guessed") == usage_row("guessed", **known)
    assert {(name, row.state, row.finish, row.completion_tokens) for name, row in rows.items()} == {
        ("open", "settled", "crashed", 15),
        ("unknown", "settled", "crashed", 5),
    }
    await storage.aclose()


async def test_quotas_know_what_the_journal_held(settings):
    await left(settings, usage_row("a", started_at=SystemClock().time()))
    storage = await storage_of(settings)
    seeded = []
    storage.limiter.seed = seeded.extend
    await storage.start()
    assert [(row.tenant_id, row.day) for row in seeded] == [("tnt_1", 30)]
    await storage.aclose()


CHILD = """
import asyncio, sys
from app.core.clock import SystemClock
from app.core.outcome import Outcome, Settlement, Usage
from app.settings import Settings
from app.wiring.storage import open_storage
from tests.fakes import make_call

async def main():
    settings = Settings.model_validate_json(sys.argv[1])
    storage = await open_storage(settings, SystemClock(), lambda rows, seconds: None)
    await storage.start()

    async def lane():
        while True:
            call = make_call()
            call.id = f"{sys.argv[2]}-{call.id}"
            storage.ledger.open(call)
            await asyncio.sleep(0.008)
            await storage.ledger.settle(call, Settlement(Outcome.SUCCESS, Usage(7, 3), finish="stop"))
            print(call.id, flush=True)

    await asyncio.gather(*(lane() for _ in range(20)))

asyncio.run(main())
"""


async def test_a_killed_gateway_that_commits_to_the_journal_leaves_each_call_once(store_url, tmp_path):
    await asyncio.to_thread(migrate, store_url)
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    ledger = {"commit": "journal", "journal": {"path": str(tmp_path / "journal.db")}}
    tree = {"database_url": store_url, "secret": SECRET, "ledger": ledger}
    confirmed = []
    for life in "abc":
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            json.dumps(tree),
            life,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        confirmed += [(await child.stdout.readline()).decode().strip() for _ in range(100)]
        child.kill()
        confirmed += (await child.stdout.read()).decode().split()
        await child.wait()
    storage = await storage_of(Settings(**tree))
    await storage.start()
    rows = {row.call_id: row async for row in storage.reports.export()}
    await storage.aclose()
    assert len(confirmed) >= 300
    assert {rows[call].finish for call in confirmed} == {"stop"}
    assert {row.state for row in rows.values()} == {"settled"}


async def test_two_gateways_with_one_journal_write_each_call_once(settings):
    await left(settings, *(usage_row(f"left-{n}") for n in range(300)))
    one, two = [await storage_of(settings) for _ in range(2)]
    await asyncio.gather(one.start(), two.start())
    for storage in (one, two):
        storage.storing.doubt("a test")
    calls = [make_call() for _ in range(40)]
    for number, call in enumerate(calls):
        await (one, two)[number % 2].ledger.settle(call, DONE)
    async with asyncio.timeout(10):
        while one.journal.backlog or two.journal.backlog:
            await asyncio.sleep(0.01)
    await one.aclose()
    await two.aclose()
    again = await storage_of(settings)
    assert again.journal.backlog == 0
    rows = [row.call_id async for row in again.reports.export()]
    assert len(rows) == 340
    assert len(set(rows)) == 340
    await again.aclose()
