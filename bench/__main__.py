"""The benchmarks.

python -m bench [--quick] [--rounds 5] [--seconds 3] [--json FILE] [NAME …]; --list says which there are
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.alternate import Effort, run
from bench.process import OUT
from bench.report import machine, text
from bench.scenarios import SCENARIOS
from bench.stores import Absent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; all without")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="of each target in each round")
    parser.add_argument("--warm-up", type=float, default=Effort.warm_up, help="seconds before those")
    parser.add_argument("--rows", type=int, default=Effort.rows, help="of the ledger that is filled")
    parser.add_argument("--quick", action="store_true", help="two short rounds: a look, no measurement")
    parser.add_argument("--json", type=Path, default=OUT / "result.json", help="where all figures go")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    chosen = parser.parse_args(words)
    unknown = sorted(set(chosen.names) - set(names))
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}; there are {', '.join(names)}")
    return chosen


def effort(chosen: argparse.Namespace) -> Effort:
    if chosen.quick:
        return Effort(rounds=2, seconds=1.0, warm_up=0.5, rows=min(chosen.rows, 100_000))
    return Effort(chosen.rounds, chosen.seconds, chosen.warm_up, chosen.rows)


def main() -> None:
    chosen = arguments()
    wanted = [row for row in SCENARIOS if not chosen.names or row.name in chosen.names]
    if chosen.list:
        print("\n".join(f"{row.name:14} {row.title}" for row in wanted))
        return
    results: list[dict[str, Any]] = []
    for scenario in wanted:
        try:
            results.append(run(scenario, effort(chosen)))
        except Absent as error:
            print(f"{scenario.name}: skipped, {error}", file=sys.stderr)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps({"machine": machine(), "scenarios": results}, indent=1) + "\n")
    print(text(results))


if __name__ == "__main__":
    main()
