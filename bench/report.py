"""Tables for the terminal, and the machine they were measured on."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; words to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if not column else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ranged(value: dict[str, float] | None, scale: float = 1.0) -> str:
    """Median and, in brackets, least and most; a dash for nothing."""
    if value is None:
        return "-"
    median, low, high = (_number(value[name] * scale) for name in ("median", "low", "high"))
    return f"{median} ({low}-{high})"


def _ratio(found: dict[str, Any], of: str, to: str) -> str:
    pairs = {(row["of"], row["to"]): row for row in found["compared"]}
    return ranged(pairs.get((of, to), {}).get("ratio"))


def costs(results: Sequence[dict[str, Any]]) -> str:
    """CPU microseconds of the gateway beside the references."""
    rows = [["scenario", "per", "gateway µs", "relay µs", "nginx µs", "x relay", "x nginx"]]
    for found in results:
        cells = [
            ranged(found["targets"].get(name, {}).get("cpu_us")) for name in ("gateway", "relay", "nginx")
        ]
        ratios = [_ratio(found, "gateway", name) for name in ("relay", "nginx")]
        rows.append([found["title"], found["unit"], *cells, *ratios])
    return aligned(rows)


def variants(results: Sequence[dict[str, Any]]) -> str:
    """Gateways beside each other."""
    rows = [["scenario", "per", "first", "µs", "second", "µs", "ratio", "added µs"]]
    for found in results:
        for row in found["compared"]:
            names = (row["to"], row["of"])
            cells = [cell for name in names for cell in (name, ranged(found["targets"][name].get("cpu_us")))]
            added = ranged(row.get("added_cpu_us"))
            rows.append([found["title"], found["unit"], *cells, ranged(row.get("ratio")), added])
    return aligned(rows)


def added(results: Sequence[dict[str, Any]]) -> str:
    """To the way without anything between, round by round; milliseconds."""
    rows = [["scenario", "target", "first event p50", "p99", "whole answer p50"]]
    for found in results:
        for row in found["compared"]:
            if row["to"] == "direct":
                cells = [
                    ranged(row[f"added_{name}"], 1000) for name in ("first_p50", "first_p99", "whole_p50")
                ]
                rows.append([found["title"], row["of"], *cells])
    return aligned(rows)


def times(results: Sequence[dict[str, Any]]) -> str:
    """Rates and waits, medians of the rounds; milliseconds."""
    head = ["scenario", "target", "answers/s", "events/s", "first p50", "p99", "answer p50", "p99"]
    rows = [[*head, "relayed p50", "p99", "gap p99", "max", "busy", "load", "err", "short"]]
    scales = [("requests_per_second", 1.0), ("events_per_second", 1.0)]
    scales += [(f"{name}_p{share}", 1000.0) for name in ("first", "whole", "relayed") for share in (50, 99)]
    scales += [("gaps_p99", 1000.0), ("gaps_max", 1000.0), ("busy", 1.0), ("load_busy", 1.0)]
    for found in results:
        for name, figures in found["targets"].items():
            cells = [
                _number(figures[figure]["median"] * scale) if figures.get(figure, {}).get("high") else "-"
                for figure, scale in scales
            ]
            worst = [_number(figures[figure]["high"]) for figure in ("errors", "short")]
            rows.append([found["title"], name, *cells, *worst])
    return aligned(rows)


def special(found: dict[str, Any]) -> str:
    """Figures by what they tell."""
    rows = [[found["title"], "figure"]]
    for what, value in found["figures"].items():
        told = ranged(value) if isinstance(value, dict) else str(value)
        rows.append([what, _number(value) if isinstance(value, float) else told])
    return aligned(rows)


def text(results: Sequence[dict[str, Any]], specials: Sequence[dict[str, Any]]) -> str:
    """All tables that have rows."""
    compared = [found for found in results if "gateway" not in found["targets"]]
    plain = [found for found in results if "gateway" in found["targets"]]
    parts = []
    if plain:
        parts.append("CPU time, median of the rounds (least-most)\n" + costs(plain))
    if compared:
        parts.append("One gateway beside another\n" + variants(compared))
    if direct := [found for found in results if "direct" in found["targets"]]:
        parts.append("Added to the time without anything between, ms\n" + added(direct))
    if results:
        parts.append("Rates and times in milliseconds, medians; errors of the worst round\n" + times(results))
    parts += map(special, specials)
    return "\n\n".join(parts)
