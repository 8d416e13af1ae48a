"""What open streams take of memory, beside the references."""

from __future__ import annotations

from typing import Any

from bench.alternate import one
from bench.cpu import rss
from bench.effort import Effort
from bench.nginx import found as nginx_found
from bench.scenarios import Scenario
from bench.targets import standing

STREAMS = 2048


def run(effort: Effort, streams: int = STREAMS) -> dict[str, Any]:
    """After some JSON calls, so that everything is loaded."""
    first = Scenario("memory", "", 64)
    then = Scenario("memory", "", streams, stream=True, interval=0.08)
    found: dict[str, Any] = {}
    with standing(then, ["relay", *["nginx"] * bool(nginx_found())], effort.rows) as targets:
        for name, target in targets.items():
            assert target.pid is not None
            one(first, target, effort)
            empty = rss(target.pid)
            measured = one(then, target, effort)
            found[f"{name}: RSS before, MB"] = empty / 1e6
            found[f"{name}: RSS at {streams:,} streams, MB"] = measured["rss"] / 1e6
            found[f"{name}: KB per stream"] = (measured["rss"] - empty) / 1000 / streams
            found[f"{name}: errors and short streams"] = measured["errors"] + measured["short"]
    return found
