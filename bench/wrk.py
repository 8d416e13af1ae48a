"""The same load by wrk, which counts on its own: a check of our callers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.cpu import between, spent
from bench.effort import Effort
from bench.load import request
from bench.process import pinned
from bench.scenarios import Scenario
from bench.targets import Target

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def found() -> str | None:
    """Its path on this machine."""
    return shutil.which("wrk")


def wrk(scenario: Scenario, target: Target, effort: Effort, cpus: set[int]) -> dict[str, Any]:
    """Counts, rates and waits, as `bench.load` tells them."""
    key = json.loads(target.keys.read_text())[0] if target.keys else "none"
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        script = Path(folder, "post.lua")
        script.write_text(_script(request(key, False, scenario.tokens, scenario.body)))
        _said(script, scenario, target, effort.warm_up, cpus)
        before = spent(target.pid) if target.pid else {}
        measured = read(_said(script, scenario, target, effort.seconds, cpus))
    cpu = {"cpu_ns": between(before, spent(target.pid))} if target.pid else {}
    return measured | cpu


def _script(call: bytes) -> str:
    """Lua that sends these very bytes."""
    return f"local call = {json.dumps(call.decode())}\nrequest = function() return call end\n"


def _said(script: Path, scenario: Scenario, target: Target, seconds: float, cpus: set[int]) -> str:
    options = ["-t", "1", "-c", str(scenario.connections), "-d", f"{max(1, round(seconds))}s", "--latency"]
    command = ["wrk", *options, "-s", str(script), f"http://127.0.0.1:{target.port}/"]
    with pinned(cpus):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read(said: str) -> dict[str, Any]:
    """What wrk --latency prints."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", said)
    if total is None:
        raise ValueError(f"wrk said {said!r}")
    seconds = float(total[2]) * _SECONDS[total[3]]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    errors = int(refused[1]) if refused else 0
    errors += sum(map(int, broken.groups())) if broken else 0
    measured = {"seconds": seconds, "requests": int(total[1]), "events": 0, "errors": errors, "short": 0}
    measured |= {"requests_per_second": int(total[1]) / seconds}
    for share, value, unit in re.findall(r"(50|99)% +([\d.]+)(us|ms|s|m)\b", said):
        measured[f"whole_p{share}"] = float(value) * _SECONDS[unit]
    return measured
