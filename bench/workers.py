"""One worker beside two, nothing pinned: calls a second, what they cost, and whether limits and ledger stay exact."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench.alternate import Round, one
from bench.effort import Effort
from bench.figures import ratios, spread
from bench.gateway import GENEROUS, Gateway, serving
from bench.process import module, outcome
from bench.scenarios import Scenario
from bench.stores import redis
from bench.targets import Target

LIMIT = 600
"""Requests a minute of the tenant that is held to it."""

_LOAD = Scenario("workers", "", 256)


def run(effort: Effort) -> dict[str, Any]:
    """Raises Absent without Redis."""
    with ExitStack() as stack:
        every = os.sched_getaffinity(0)
        upstream, said = stack.enter_context(module("upstream", cpus=every))
        rounds: dict[int, list[Round]] = {1: [], 2: []}
        gateways, targets = {}, {}
        for workers in rounds:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            settings = {"redis_url": redis(stack)}
            served = stack.enter_context(serving(folder, said["ports"], every, settings, workers))
            gateways[workers] = (served, folder)
            targets[workers] = Target(
                served.pid, served.port, upstream, _key(served, folder, "all", GENEROUS)
            )
        for number in range(effort.rounds):
            for workers in sorted(rounds, reverse=bool(number % 2)):
                rounds[workers].append(one(_LOAD, targets[workers], effort, cpus=every))
        found = _compared(rounds)
        return found | _exact(*gateways[2], effort)


def _key(served: Gateway, folder: Path, name: str, limits: dict[str, int]) -> Path:
    written = folder / f"{name}.json"
    written.write_text(json.dumps([served.key(name, limits)]))
    return written


def _compared(rounds: dict[int, list[Round]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    columns = {}
    for workers, rows in rounds.items():
        rates = columns[workers] = [row["requests_per_second"] for row in rows]
        found[f"answers a second, --workers {workers}"] = spread(rates)._asdict()
        found[f"CPU per request, µs, --workers {workers}"] = spread([row["cpu_us"] for row in rows])._asdict()
        found[f"errors, --workers {workers}"] = sum(row["errors"] for row in rows)
    return found | {"answers, two to one": ratios(columns[2], columns[1])._asdict()}


def _exact(served: Gateway, folder: Path, effort: Effort) -> dict[str, Any]:
    """A tenant that wants more than it may, on two workers."""
    key = _key(served, folder, "held", GENEROUS | {"requests_per_minute": LIMIT})
    words = ("--port", served.port, "--keys", key, "--seconds", effort.seconds, "--entire")
    told = outcome("load", *words, cpus=os.sched_getaffinity(0))
    allowed = LIMIT + LIMIT / 60 * told["seconds"]
    with closing(sqlite3.connect(folder / "sluice.db")) as ledger:
        query = (
            "SELECT count(*) FROM usage JOIN tenants ON tenants.id = tenant_id"
            " WHERE tenants.name = 'held' AND usage.status = 200"
        )
        rows = ledger.execute(query).fetchone()[0]
    return {
        f"admitted of a tenant with {LIMIT} requests a minute": told["requests"],
        "allowed: the limit and what came back meanwhile": int(allowed),
        "rows of them in the ledger": rows,
        "admitted as allowed, and in the ledger": told["requests"] <= allowed and rows == told["requests"],
    }
