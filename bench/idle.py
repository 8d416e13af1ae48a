"""Ten thousand streams that are open and silent: what they cost, and what somebody else notices."""

from __future__ import annotations

import math
import resource
from typing import Any

from bench.alternate import one
from bench.cpu import rss, shares
from bench.effort import Effort
from bench.process import module
from bench.scenarios import Scenario
from bench.stores import Absent
from bench.targets import standing

STREAMS = 10_000
_SPARE = 200
_TOO_FEW = 1000


def affordable(streams: int) -> int:
    """How many of them the open files allow, two for each; raises Absent where that is next to nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * streams + _SPARE
    for limit in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted), limit), limit))
            break
        except (ValueError, OSError):
            continue
    allowed = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE) // 2
    if allowed < min(streams, _TOO_FEW):
        raise Absent(f"{wanted} open files are needed and {hard} allowed")
    return min(streams, allowed)


def run(effort: Effort, streams: int = STREAMS) -> dict[str, Any]:
    """`other`: a caller of eight JSON answers at a time."""
    streams = affordable(streams)
    other = Scenario("idle", "", 8, references=(), interval=math.inf)
    with standing(other, (), effort.rows) as targets:
        gateway = targets["gateway"]
        assert gateway.pid is not None
        before = one(other, gateway, effort)
        empty = rss(gateway.pid)
        words = ("--port", gateway.port, "--keys", gateway.keys, "--connections", streams)
        with module("hold", *words, cpus=shares()[1]) as (_, held):
            full = rss(gateway.pid)
            during = one(other, gateway, effort)
    found = {"streams": held["first"], "until all had their first event, s": held["seconds"]}
    found |= {"KB per stream": (full - empty) / 1000 / max(1, held["first"]), "RSS, MB": full / 1e6}
    for share in ("p50", "p99"):
        found[f"another caller before, {share}, ms"] = before[f"whole_{share}"] * 1000
        found[f"another caller meanwhile, {share}, ms"] = during[f"whole_{share}"] * 1000
    found["CPU of its request before, µs"] = before["cpu_us"]
    found["CPU of its request meanwhile, µs"] = during["cpu_us"]
    return found
