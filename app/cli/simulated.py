"""A fleet of simulated endpoints in one child process, which lives no longer than its parent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import uvloop

from app.cli.failure import Failed
from app.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 5.0


@contextmanager
def simulated(count: int, model: str) -> Iterator[list[str]]:
    """The URLs of `count` endpoints that serve `model`. Raises Failed.

    The child is in a session of its own, so that Ctrl-C ends the gateway first; it ends when the pipe
    to it closes, also when this process is killed.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH")) if path)
    child = subprocess.Popen(  # noqa: S603  this very interpreter and module
        [sys.executable, "-P", "-m", "app.cli.simulated", str(count), model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )
    held, told = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    with child:
        try:
            line = told.readline()
            if not line:
                raise Failed("the simulated endpoints did not start")
            yield json.loads(line)
        finally:
            held.close()
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


async def _simulate(count: int, model: str) -> None:
    """Print where they are; run until there is nothing more to read, which is the parent's end."""
    simulators = [Simulator(served_names=(model,)) for _ in range(count)]
    for simulator in simulators:
        await simulator.start()
    sys.stdout.write(json.dumps([simulator.url for simulator in simulators]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    for simulator in simulators:
        await simulator.stop()


if __name__ == "__main__":
    uvloop.run(_simulate(int(sys.argv[1]), sys.argv[2]))
