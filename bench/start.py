"""From the start of the process to the first call that is answered."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cpu import shares
from bench.effort import Effort
from bench.figures import spread
from bench.gateway import call, serving
from bench.process import module, wait

TIMES = 5


def run(effort: Effort) -> dict[str, Any]:
    """In a cold start the database is made, and then a tenant with a key; else both are there."""
    cold, warm = [], []
    with module("upstream", cpus=shares()[1]) as (_, said):
        for _ in range(min(TIMES, effort.rounds)):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                took, key = _start(Path(folder), said["ports"])
                cold.append(took)
                warm.append(_start(Path(folder), said["ports"], key)[0])
    return {
        "empty database, s": spread(cold)._asdict(),
        "existing database, s": spread(warm)._asdict(),
    }


def _start(folder: Path, ports: list[int], key: str | None = None) -> tuple[float, str]:
    """Seconds, and the key that was made or given."""
    begun = time.monotonic()
    with serving(folder, ports, shares()[0], ready=key is None) as gateway:
        known = key or gateway.key("first")
        wait(lambda: call(gateway.port, known))
        return time.monotonic() - begun, known
