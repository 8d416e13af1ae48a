"""Compares counts with those of a baseline, which is kept for each minor version of Python."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.counting import total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.script import Result

FILE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.03
VERSION = ".".join(platform.python_version_tuple()[:2])


class Change(NamedTuple):
    """A count, now and in the baseline."""

    name: str
    before: float
    now: float
    tolerance: float = TOLERANCE

    @property
    def share(self) -> float:
        """By which it grew; negative when it fell."""
        return (self.now - self.before) / self.before if self.before else float(self.now > 0)

    @property
    def grew(self) -> bool:
        return self.share > self.tolerance

    @property
    def fell(self) -> bool:
        return self.share < -self.tolerance


def figures(result: Result) -> dict[str, float]:
    """Everything that is compared, by name."""
    found = {}
    for part in ("request", "event", "stream"):
        work = total(getattr(result, part))
        found[f"instructions per {part}"] = work.instructions
        found[f"Python calls per {part}"] = work.calls
        found[f"C calls per {part}"] = work.c_calls
    found["memory blocks kept per request"] = result.blocks
    return {name: round(count, 1) for name, count in found.items()}


def changes(now: Mapping[str, float], before: Mapping[str, float], tolerance: float) -> list[Change]:
    """One for each count, in order; one that the baseline does not know has not changed."""
    return [Change(name, before.get(name, count), count, tolerance) for name, count in now.items()]


def read(file: Path = FILE, version: str = VERSION) -> dict[str, float] | None:
    """None: this version has no baseline."""
    known: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    return known.get(version)


def renew(now: Mapping[str, float], file: Path = FILE, version: str = VERSION) -> None:
    """Those of other versions stay."""
    known = json.loads(file.read_text()) if file.exists() else {}
    known[version] = dict(now)
    file.write_text(json.dumps(known, indent=2, sort_keys=False) + "\n")
