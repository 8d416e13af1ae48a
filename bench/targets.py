"""Whom a scenario's load is put on: gateways, references, the upstream itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import shares
from bench.gateway import serving
from bench.nginx import nginx
from bench.process import module
from bench.scenarios import Scenario, Variant
from bench.stores import provided


@dataclass(frozen=True)
class Target:
    """`pid` is None where its CPU time is of no interest; `upstream` is the process behind it."""

    pid: int | None
    port: int
    upstream: int
    keys: Path | None = None


def _gateway(variant: Variant, upstream: int, ports: Sequence[int], rows: int, stack: ExitStack) -> Target:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    settings = provided(variant, folder, rows, stack)
    target, _ = shares()
    gateway = stack.enter_context(serving(folder, ports[: variant.endpoints], target, settings))
    keys = folder / "keys.json"
    keys.write_text(json.dumps([gateway.key(f"tenant-{n}") for n in range(variant.tenants)]))
    return Target(gateway.pid, gateway.port, upstream, keys)


@contextmanager
def standing(scenario: Scenario, references: Sequence[str], rows: int) -> Iterator[dict[str, Target]]:
    """All of them, running; raises Absent for what this machine lacks."""
    target, others = shares()
    with ExitStack() as stack:
        count = max(variant.endpoints for variant in scenario.gateways.values())
        words = ("--endpoints", count, "--interval", scenario.interval, *["--step"] * scenario.step)
        upstream, said = stack.enter_context(module("upstream", *words, cpus=others))
        ports = said["ports"]
        found = {
            name: _gateway(variant, upstream, ports, rows, stack)
            for name, variant in scenario.gateways.items()
        }
        if "relay" in references:
            pid, said = stack.enter_context(module("relay", "--to", *ports, cpus=target))
            found["relay"] = Target(pid, said["port"], upstream)
        if "nginx" in references:
            found["nginx"] = Target(*stack.enter_context(nginx(ports, target)), upstream)
        if "direct" in references:
            found["direct"] = Target(None, ports[0], upstream)
        yield found
