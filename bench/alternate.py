"""Rounds: every target gets the same load in turn, so that what disturbs the machine disturbs all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.cpu import shares
from bench.effort import Effort
from bench.figures import differences, ratios, spread
from bench.nginx import found as nginx_found
from bench.process import outcome
from bench.scenarios import Scenario
from bench.stores import Absent
from bench.targets import Target, standing
from bench.wrk import found as wrk_found
from bench.wrk import wrk

FIGURES = (
    "cpu_us", "busy", "requests_per_second", "events_per_second", "first_p50", "first_p99", "whole_p50",
    "whole_p99", "gaps_p50", "gaps_p99", "gaps_max", "relayed_p50", "relayed_p99", "rss", "load_busy", "errors", "short", "open",
)  # fmt: skip
"""What is summed up of the rounds: times in seconds, but `cpu_us` in microseconds per request or event; `rss` in bytes.

`busy` and `load_busy` are CPUs kept busy, by the target and by callers and upstream together.
"""

Round = dict[str, Any]


def one(scenario: Scenario, target: Target, effort: Effort, cpus: set[int] | None = None) -> Round:
    """One target's turn; `cpus` for the callers if not the usual ones."""
    found = (wrk if scenario.wrk else _own)(scenario, target, effort, cpus or shares()[1])
    if "cpu_ns" in found:
        done = found["events" if scenario.stream else "requests"]
        found["cpu_us"] = found["cpu_ns"] / 1000 / max(1, done)
        found["busy"] = found["cpu_ns"] / 1e9 / found["seconds"]
    return found


def _own(scenario: Scenario, target: Target, effort: Effort, cpus: set[int]) -> Round:
    words = ["--port", target.port, "--connections", scenario.connections, "--tokens", scenario.tokens]
    words += ["--body", scenario.body, "--seconds", effort.seconds, "--warm-up", effort.warm_up]
    words += ["--stream"] * scenario.stream + ["--stamped"] * scenario.stamped
    words += ["--beside", target.upstream]
    words += ["--keys", target.keys] if target.keys else []
    words += ["--pid", target.pid] if target.pid else []
    return outcome("load", *words, cpus=cpus)


def _turns(names: list[str], rounds: int) -> Iterator[list[str]]:
    """The order of each round: everybody is first in turn."""
    for number in range(rounds):
        first = number % len(names)
        yield names[first:] + names[:first]


def run(scenario: Scenario, effort: Effort) -> dict[str, Any]:
    """Figures of all targets; raises Absent for what this machine lacks."""
    if scenario.wrk and not wrk_found():
        raise Absent("there is no wrk")
    references = [name for name in scenario.references if name != "nginx" or nginx_found()]
    with standing(scenario, references, effort.rows) as targets:
        found: dict[str, list[Round]] = {name: [] for name in targets}
        for order in _turns(list(targets), effort.rounds):
            for name in order:
                found[name].append(one(scenario, targets[name], effort))
    return summary(scenario, found)


def summary(scenario: Scenario, found: Mapping[str, list[Round]]) -> dict[str, Any]:
    """Medians and ranges; the first gateway against the references, the other gateways against the first."""
    first, *others = scenario.gateways
    pairs = [(name, first) for name in others]
    pairs += [(first, name) for name in found if name not in scenario.gateways]
    pairs += [(name, "direct") for name in found if "direct" in found and name not in (first, "direct")]
    columns = {
        name: {
            figure: [row[figure] for row in rows] for figure in FIGURES if all(figure in row for row in rows)
        }
        for name, rows in found.items()
    }
    return {
        "name": scenario.name,
        "title": scenario.title,
        "unit": scenario.unit,
        "connections": scenario.connections,
        "interval": scenario.interval,
        "step": scenario.step,
        "targets": {
            name: {figure: spread(values)._asdict() for figure, values in column.items()}
            for name, column in columns.items()
        },
        "compared": [_compared(one, other, columns) for one, other in pairs],
        "rounds": found,
    }


def _compared(one: str, other: str, columns: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    """Ratio of CPU where both have it, and what comes on top of it, or of the time to the first event."""
    ours, theirs = columns[one], columns[other]
    found: dict[str, Any] = {"of": one, "to": other}
    if "cpu_us" in theirs:
        found["ratio"] = ratios(ours["cpu_us"], theirs["cpu_us"])._asdict()
    for figure in ("cpu_us", "first_p50", "first_p99", "whole_p50", "whole_p99", "gaps_max"):
        if figure in theirs:
            found[f"added_{figure}"] = differences(ours[figure], theirs[figure])._asdict()
    return found
