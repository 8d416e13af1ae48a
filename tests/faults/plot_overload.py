"""Draws what measure_overload found; needs matplotlib, which is no dependency of the project.

python -m tests.faults.plot_overload overload.json docs/overload.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt  # type: ignore[import-not-found]


def draw(found: dict[str, Any], to: Path) -> None:
    rows = found["rows"]
    loads = [row["load"] for row in rows]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    upper.plot(loads, [load * found["capacity"] for load in loads], ":", color="gray", label="offered")
    upper.plot(loads, [row["goodput"] for row in rows], "o-", label="answered")
    upper.axhline(found["capacity"], color="gray", linewidth=0.5)
    upper.set(ylabel="calls a second", ylim=(0, 1.6 * found["capacity"]))
    upper.set_title(f"a fleet that answers {found['capacity']:.0f} calls a second")
    lower.plot(loads, [row["ttft_p50"] for row in rows], "o-", label="first token, p50")
    lower.plot(loads, [row["ttft_p99"] for row in rows], "o-", label="first token, p99")
    refused = [row for row in rows if row["shed"]]
    shed = [row["shed_p99"] for row in refused]
    lower.plot([row["load"] for row in refused], shed, "o-", label="refusal, p99")
    lower.set(ylabel="seconds", xlabel="offered, times the capacity", yscale="log")
    lower.set_xscale("log")
    lower.set_xticks(loads, [f"{load:g}x" for load in loads])
    lower.minorticks_off()
    for axes in (upper, lower):
        axes.legend(loc="best", frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(to, dpi=110)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
