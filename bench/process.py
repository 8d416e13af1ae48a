"""Processes of a measurement: started on their CPUs, heard, ended with the block."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"
_PATIENCE = 30.0


@contextmanager
def pinned(cpus: set[int]) -> Iterator[None]:
    """What is started in the block runs on these."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


@contextmanager
def running(
    command: Sequence[str], cpus: set[int], *, heard: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """`heard`: with its standard output as a pipe, else it goes nowhere."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    output = subprocess.PIPE if heard else subprocess.DEVNULL
    with pinned(cpus):
        process = subprocess.Popen(command, cwd=ROOT, env=clean, stdout=output, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def module(name: str, *words: object, cpus: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """`python -m bench.<name> …`: its process and the line of JSON with which it says that it serves."""
    command = [sys.executable, "-m", f"bench.{name}", *map(str, words)]
    with running(command, cpus, heard=True) as process:
        assert process.stdout is not None
        yield process.pid, json.loads(process.stdout.readline())


def outcome(name: str, *words: object, cpus: set[int]) -> dict[str, Any]:
    """What `python -m bench.<name> …` has found when it ends."""
    with module(name, *words, cpus=cpus) as (_, found):
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(true: Callable[[], bool], within: float = _PATIENCE) -> None:
    """Raises TimeoutError."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"still waiting after {within:g} s")
        time.sleep(0.01)
