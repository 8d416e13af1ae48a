"""The benchmarks.

python -m bench [--quick] [--rounds 5] [--seconds 3] [--json FILE] [NAME …]; --list says which there are
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.alternate import run
from bench.effort import Effort
from bench.process import OUT
from bench.report import machine, text
from bench.scenarios import SCENARIOS, Scenario
from bench.special import SPECIALS, Special
from bench.stores import Absent

CURVES = Path("docs/performance.png")
ALL: list[Scenario | Special] = [*SCENARIOS, *SPECIALS]


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    names = [row.name for row in ALL]
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; everything without")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="of each target in each round")
    parser.add_argument("--warm-up", type=float, default=Effort.warm_up, help="seconds before those")
    parser.add_argument("--rows", type=int, default=Effort.rows, help="of the ledger that is filled")
    parser.add_argument("--quick", action="store_true", help="two short rounds: a look, no measurement")
    parser.add_argument("--json", type=Path, default=OUT / "result.json", help="where all figures go")
    parser.add_argument("--png", type=Path, help=f"where the curves go; {CURVES} when everything is measured")
    parser.add_argument("--list", action="store_true", help="name what can be measured")
    chosen = parser.parse_args(words)
    unknown = sorted(set(chosen.names) - set(names))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    return chosen


def effort(chosen: argparse.Namespace) -> Effort:
    if chosen.quick:
        return Effort(rounds=2, seconds=1.0, warm_up=0.5, rows=min(chosen.rows, 100_000))
    return Effort(chosen.rounds, chosen.seconds, chosen.warm_up, chosen.rows)


def measure(wanted: Sequence[Scenario | Special], effort: Effort, found: dict[str, Any]) -> None:
    """Adds to what is found row by row, so that an interruption loses one."""
    for row in wanted:
        began = time.monotonic()
        print(f"{row.name} … ", end="", file=sys.stderr, flush=True)
        try:
            if isinstance(row, Special):
                figures = row.run(effort)
                found["specials"].append({"name": row.name, "title": row.title, "figures": figures})
            else:
                found["scenarios"].append(run(row, effort))
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        except Absent as error:
            print(f"skipped, {error}", file=sys.stderr)


def picture(found: dict[str, Any], to: Path) -> None:
    if find_spec("matplotlib") is None:
        print(f"{to} is not drawn: that needs matplotlib", file=sys.stderr)
        return
    import_module("bench.plot").draw(found, to)


def main() -> None:
    chosen = arguments()
    wanted = [row for row in ALL if not chosen.names or row.name in chosen.names]
    if chosen.list:
        print("\n".join(f"{row.name:14} {row.title}" for row in wanted))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found: dict[str, Any] = {"machine": machine(), "scenarios": [], "specials": []}
    try:
        measure(wanted, effort(chosen), found)
    finally:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
        print(text(found["scenarios"], found["specials"]))
    curves = chosen.png or (None if chosen.names or chosen.quick else CURVES)
    if curves is not None:
        picture(found, curves)


if __name__ == "__main__":
    main()
