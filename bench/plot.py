"""Draws what `python -m bench` found; needs matplotlib, which is no dependency of the project.

python -m bench.plot bench/out/result.json docs/performance.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt  # type: ignore[import-not-found]

_TARGETS = {"gateway": "o-", "nginx": "s--", "relay": "^:"}
_INTERVAL = 0.02

Rows = Sequence[dict[str, Any]]


def in_flight(scenarios: Rows) -> Rows:
    """JSON calls of the usual size, by how many there are at a time."""
    return _ordered(scenarios, lambda row: row["name"].startswith("json-"))


def streams(scenarios: Rows) -> Rows:
    """Streams of the same pace, by how many there are."""
    return _ordered(
        scenarios,
        lambda row: row["name"].startswith("sse-") and row["interval"] == _INTERVAL and not row["step"],
    )


def _ordered(scenarios: Rows, wanted: Callable[[dict[str, Any]], bool]) -> Rows:
    return sorted(filter(wanted, scenarios), key=lambda row: row["connections"])


def _curve(axes: Any, rows: Rows, figure: str, scale: float = 1.0) -> None:
    """Medians, with bars from the least to the most."""
    for name, style in _TARGETS.items():
        found = [(row["connections"], row["targets"][name][figure]) for row in rows if name in row["targets"]]
        medians = [value["median"] * scale for _, value in found]
        below = [(value["median"] - value["low"]) * scale for _, value in found]
        above = [(value["high"] - value["median"]) * scale for _, value in found]
        counts = [count for count, _ in found]
        axes.errorbar(counts, medians, [below, above], fmt=style, capsize=3, label=name)
    ticks = [row["connections"] for row in rows]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def draw(found: dict[str, Any], to: Path) -> None:
    figure, (calls, events, late) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    _curve(calls, in_flight(found["scenarios"]), "cpu_us")
    calls.set(title="CPU per request", xlabel="requests in flight", ylabel="µs", yscale="log")
    _curve(events, streams(found["scenarios"]), "cpu_us")
    events.set(title="CPU per event", xlabel="streams, an event each 20 ms", ylabel="µs", ylim=(0, None))
    _curve(late, streams(found["scenarios"]), "relayed_p99", 1000)
    late.set(title="Relay latency, p99", xlabel="streams", ylabel="ms", yscale="log")
    machine = found["machine"]
    figure.suptitle(f"{machine['cpu']}, Python {machine['python']}", fontsize="small", color="gray")
    figure.savefig(to, dpi=110)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
