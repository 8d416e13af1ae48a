"""Inside half a CPU: how long streams stall that an engine feeds evenly."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.alternate import Round, one
from bench.effort import Effort
from bench.figures import differences, spread
from bench.scenarios import Scenario
from bench.stores import Absent
from bench.targets import standing

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD, _QUOTA = 100_000, 50_000
"""Microseconds; the period is what container engines use."""


def _quotas(folder: Path) -> dict[Path, str]:
    """The file that says how much, in version 2 or 1 of the kernel's groups, with what it is to say."""
    if (folder.parent / "cpu.cfs_quota_us").exists():
        return {folder / "cpu.cfs_period_us": f"{_PERIOD}", folder / "cpu.cfs_quota_us": f"{_QUOTA}"}
    return {folder / "cpu.max": f"{_QUOTA} {_PERIOD}"}


@contextmanager
def confined(pid: int) -> Iterator[None]:
    """The process shares half a CPU with its children; raises Absent where that may not be said."""
    parent = _GROUPS / "cpu" if (_GROUPS / "cpu" / "cpu.cfs_quota_us").exists() else _GROUPS
    folder = parent / f"bench-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise Absent(f"control groups may not be made here ({error.strerror})") from error
    try:
        try:
            for file, quota in _quotas(folder).items():
                file.write_text(quota)
            (folder / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise Absent(f"a CPU quota may not be set here ({error.strerror})") from error
        yield
    finally:
        _leave(folder, parent)


def _leave(folder: Path, parent: Path) -> None:
    for pid in (folder / "cgroup.procs").read_text().split() if folder.exists() else []:
        if os.path.exists(f"/proc/{pid}"):
            (parent / "cgroup.procs").write_text(pid)
    folder.rmdir()


def run(effort: Effort) -> dict[str, Any]:
    """64 streams of 50 events a second; `direct` is the same without a gateway. Raises Absent."""
    scenario = Scenario("half-cpu", "", 64, stream=True, interval=0.02)
    rows: dict[str, list[Round]] = {"gateway": [], "direct": []}
    with standing(scenario, ["direct"], effort.rows) as targets:
        pid = targets["gateway"].pid
        assert pid is not None
        with confined(pid):
            for _ in range(effort.rounds):
                for name, mine in rows.items():
                    mine.append(one(scenario, targets[name], effort))
    columns = {name: [row["gaps_max"] * 1000 for row in mine] for name, mine in rows.items()}
    found: dict[str, Any] = {
        f"longest gap, {name}, ms": spread(values)._asdict() for name, values in columns.items()
    }
    return found | {
        "added stall, ms": differences(columns["gateway"], columns["direct"])._asdict(),
        "CPUs kept busy": spread([row["busy"] for row in rows["gateway"]])._asdict(),
        "errors and short streams": sum(row["errors"] + row["short"] for row in rows["gateway"]),
    }
