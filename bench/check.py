"""Counts the gateway's work on a fixed script and says whether it grew: a guard that needs no quiet machine."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import uvloop

from bench import baseline, growth
from bench.baseline import TOLERANCE, VERSION, Change, changes, figures
from bench.counting import total
from bench.script import play

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.counting import Profile
    from bench.growth import Growth
    from bench.script import Result

FUNCTIONS = 15


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a count grew beyond the tolerance."""
    options = _parser().parse_args(arguments)
    result = uvloop.run(play())
    grown = uvloop.run(growth.play())
    if options.profile:
        print(profiles(result, options.profile))
        print(growths(grown, options.profile))
    now = figures(result)
    if options.renew:
        baseline.renew(now)
    worse = judge(now, options.tolerance / 100)
    return judge_growth([each.change for each in grown]) or worse


def judge(now: dict[str, float], tolerance: float = TOLERANCE, file: Path = baseline.FILE) -> int:
    """Print how the counts compare with the baseline; returns the exit code."""
    before = baseline.read(file)
    if before is None:
        print(table(changes(now, {}, tolerance)))
        print(f"Python {VERSION} has no baseline: nothing was compared. --renew makes one.")
        return 0
    found = changes(now, before, tolerance)
    print(table(found))
    grown = [change for change in found if change.grew]
    if grown:
        print(f"GREW by more than {tolerance:.0%}: {', '.join(change.name for change in grown)}.")
        print("--profile shows where; --renew, if that is the price of something, and say of what.")
    elif any(change.fell for change in found):
        print(f"Fell by more than {tolerance:.0%}: keep it so with --renew.")
    else:
        print(f"Within {tolerance:.0%} of the baseline of Python {VERSION}.")
    return 1 if grown else 0


def judge_growth(found: Sequence[Change]) -> int:
    """Print what more endpoints cost; returns the exit code."""
    print(table(found, f"{growth.SMALL} engines", str(growth.LARGE)))
    worse = any(change.grew for change in found)
    if worse:
        print(f"GREW by more than {growth.TOLERANCE:.0%} with the fleet: --profile shows where.")
    return int(worse)


def table(found: Sequence[Change], before: str = "baseline", now: str = "now") -> str:
    rows = [f"{'':32}{before:>10}{now:>10}{'change':>9}"]
    for change in found:
        word = "  GREW" if change.grew else "  fell" if change.fell else ""
        rows.append(f"{change.name:32}{change.before:10.1f}{change.now:10.1f}{change.share:+9.1%}{word}")
    return "\n".join(rows)


def profiles(result: Result, functions: int = FUNCTIONS) -> str:
    """The functions with the most instructions, for each thing that is counted."""
    parts = ("request", "event", "stream")
    return "\n\n".join(_profile(f"per {part}", getattr(result, part), functions) for part in parts) + "\n"


def growths(grown: Sequence[Growth], functions: int = FUNCTIONS) -> str:
    """The functions that more endpoints cost most."""
    return "\n\n".join(_profile(f"beside {each.under_way}", each.grown, functions) for each in grown) + "\n"


def _profile(title: str, profile: Profile, functions: int) -> str:
    most = sorted(profile.items(), key=lambda item: (-item[1].instructions, item[0]))[:functions]
    whole = total(profile)
    rows = [
        f"{title:14}{'instructions':>12}{'calls':>8}{'C calls':>9}",
        f"{whole.instructions:26.1f}{whole.calls:8.1f}{whole.c_calls:9.1f}  all of {len(profile)} functions",
    ]
    rows += [f"{work.instructions:26.1f}{work.calls:8.1f}{work.c_calls:9.1f}  {name}" for name, work in most]
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument(
        "--profile",
        nargs="?",
        type=int,
        const=FUNCTIONS,
        metavar="N",
        help=f"show the N functions with the most instructions ({FUNCTIONS})",
    )
    parser.add_argument("--renew", action="store_true", help="make these counts the baseline")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE * 100, metavar="PERCENT", help="default: %(default)g"
    )
    return parser


def _unhashed() -> None:
    """Start again where the order of sets, and what depends on it, is the same every time."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "bench.check", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    _unhashed()
    sys.exit(main())
