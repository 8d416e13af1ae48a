"""How long an end waits to be durable, and what a row costs: `python -m tests.money.measure_settle [seconds]`.

500 calls a second arrive evenly, live 50 ms and are settled; fsync is on everywhere. CPU is that of the
whole process (loop and writer threads, PostgreSQL's own not) above the same calls without a ledger.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from app.core.clock import SystemClock
from app.core.outcome import Outcome, Settlement, Usage
from app.settings import Settings
from app.store.migrate import migrate
from app.wiring.storage import open_storage
from tests.fakes import make_call
from tests.outages import SECRET, Server
from tests.postgres import _server

RATE = 500
LIFE = 0.05
DONE = Settlement(Outcome.SUCCESS, Usage(700, 300), finish="stop", elapsed=0.05)


class Nothing:
    """A ledger that costs nothing."""

    def open(self, call):
        pass

    def settle(self, call, settlement):
        return asyncio.sleep(0)


async def load(ledger, seconds):
    """The latency of every end, and the CPU seconds it all took."""
    loop = asyncio.get_running_loop()
    waits = []

    async def one():
        call = make_call()
        ledger.open(call)
        await asyncio.sleep(LIFE)
        began = time.perf_counter()
        await ledger.settle(call, DONE)
        waits.append(time.perf_counter() - began)

    used, began = time.process_time(), loop.time()
    calls = []
    for number in range(RATE * seconds):
        await asyncio.sleep(began + number / RATE - loop.time())
        calls.append(asyncio.create_task(one()))
    await asyncio.gather(*calls)
    return sorted(waits), time.process_time() - used


async def measure(name, url, commit, seconds):
    folder = tempfile.mkdtemp(prefix="sluice-measure-")
    commits = []
    ledger = {"commit": commit, "journal": {"path": f"{folder}/journal.db"}}
    storage = await open_storage(
        Settings(database_url=url, secret=SECRET, ledger=ledger),
        SystemClock(),
        lambda rows, took: commits.append((rows, took)),
    )
    await storage.start()
    _, idle = await load(Nothing(), seconds)
    waits, busy = await load(storage.ledger, seconds)
    while storage.ledger.pending or storage.journal.backlog:
        await asyncio.sleep(0.01)
    await storage.aclose()
    shutil.rmtree(folder)
    took = sorted(seconds for _, seconds in commits)
    print(
        f"{name:10} commit: {commit:8} {len(waits)} settles"
        f"  wait p50 {at(waits, 0.5):5.1f} p99 {at(waits, 0.99):5.1f} max {waits[-1] * 1e3:5.1f} ms"
        f"  commits {len(commits) / seconds:4.0f}/s, each p50 {at(took, 0.5):4.1f} ms"
        f"  rows {sum(rows for rows, _ in commits) / len(waits):.2f} and CPU"
        f" {(busy - idle) / len(waits) * 1e6:.0f} us a call"
    )


def at(values, share):
    """Milliseconds."""
    return values[int(len(values) * share)] * 1e3


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    folder = Path(tempfile.mkdtemp(prefix="sluice-measure-"))
    os.environ.setdefault("TMPDIR", str(folder))
    _server()
    server = Server(tempfile.mkdtemp(prefix="sluice-measure-pg-"))
    urls = {"SQLite": f"sqlite:///{folder}/sluice.db", "PostgreSQL": server.url}
    try:
        for name, url in urls.items():
            migrate(url)
            for commit in ("store", "journal"):
                uvloop.run(measure(name, url, commit, seconds))
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
