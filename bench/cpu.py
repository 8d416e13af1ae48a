"""What processes used of the CPU, as the kernel accounts it, and on which CPUs they run."""

from __future__ import annotations

import os
import time
from pathlib import Path

_SCHEDULER = 2
"""The kind of a process' clock that counts nanoseconds on a CPU; it keeps those of threads that ended."""

Spent = dict[int, int]
"""Nanoseconds by process."""


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def spent(*pids: int) -> Spent:
    """By the processes and their descendants, so far."""
    found = {}
    for member in (member for pid in pids for member in family(pid)):
        try:
            found[member] = time.clock_gettime_ns((~member << 3) | _SCHEDULER)
        except OSError:
            continue
    return found


def between(before: Spent, after: Spent) -> int:
    """Nanoseconds; what a process did that is gone meanwhile is not in it."""
    return sum(now - before.get(pid, 0) for pid, now in after.items())


def rss(pid: int) -> int:
    """Bytes in memory of the process and its descendants."""
    pages = 0
    for member in family(pid):
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def shares() -> tuple[set[int], set[int]]:
    """CPUs for what is measured, and for everything else; the same one where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return set(usable[:1]), set(usable[1:]) or set(usable)
