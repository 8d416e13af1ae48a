"""A gateway of several workers as a process of its own, and a hand on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.settings.layers import merged

ROOT = Path(__file__).parents[1]
SOON = 60.0
"""Seconds in which processes start, on a busy machine too."""

TOKEN = "an admin token of the tests"
DEFAULTS: dict[str, Any] = {
    "server": {
        "host": "127.0.0.1",
        "port": 0,
        "lame_duck": 0,
        "drain": 10,
        "shedding": {"loop_lag": 60},
    },
    "ops": {"port": 0},
    "admin_token": TOKEN,
    "health": {"interval": 1, "interval_down": 0.2},
}


@dataclass
class Supervised:
    """The process, what it logs, and its two ports once they are known."""

    process: subprocess.Popen[bytes]
    file: Path
    lines: list[bytes] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def read(self) -> None:
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def events(self) -> list[dict[str, Any]]:
        """What is logged, without the stacks that SIGUSR1 asks for."""
        return [json.loads(line) for line in self.lines if line.startswith(b"{")]

    def heard(self, start: str, times: int = 1) -> list[str]:
        """The messages of the log that begin so, once there are so many."""

        def found() -> list[str]:
            messages = [event.get("message", "") for event in self.events()]
            return [message for message in messages if message.startswith(start)]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= times, SOON), (start, self.lines)
        return found()

    @property
    def data(self) -> int:
        return int(self.heard("listening on")[0].split()[-1])

    @property
    def ops(self) -> int:
        """All workers share one port; the other one is the supervisor's."""
        return next(port for port in map(int, self._ports()) if port != self.data)

    def _ports(self) -> list[str]:
        return [message.split()[-1] for message in self.heard("listening on", 2)]

    def rewrite(self, **settings: Any) -> dict[str, Any]:
        """Change the file that a reload reads; returns what it said before."""
        before = json.loads(self.file.read_text())
        self.file.write_text(json.dumps(before | settings))
        return before


def configured(folder: Path, urls: list[str], **settings: Any) -> Path:
    """A file with these endpoints; the workers need a `redis_url` too."""
    file = folder / "sluice.yaml"
    rows = {"vllm_endpoints": [{"name": f"gpu-{n}", "url": url} for n, url in enumerate(urls)]}
    database = {"database_url": f"sqlite:///{folder}/sluice.db"}
    file.write_text(json.dumps(merged(DEFAULTS, rows, database, settings)))
    return file


def _started(file: Path, workers: int, **variables: str) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "app", "serve", "--config", str(file), "--workers", str(workers)],
        cwd=file.parent,
        env=environ | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(file: Path, workers: int) -> tuple[int, list[str]]:
    """The exit code of one that is expected to end by itself, and what it said."""
    with _started(file, workers) as process:
        said, _ = process.communicate(timeout=SOON)
    return process.returncode, said.decode().splitlines()


@contextmanager
def supervised(folder: Path, urls: list[str], workers: int = 2, **settings: Any):
    """All workers ready; killed at the end if it still runs."""
    with _served(configured(folder, urls, **settings), workers) as gateway:
        gateway.heard("listening on", workers + 1)
        wait(lambda: len(pids(gateway)) == workers)
        yield gateway


@contextmanager
def alone(folder: Path, urls: list[str], **settings: Any):
    """A gateway of one process, which listens."""
    with _served(configured(folder, urls, **settings), 1) as gateway:
        gateway.heard("listening on", 2)
        yield gateway


@contextmanager
def blockable(folder: Path, urls: list[str], workers: int, seconds: float, **settings: Any):
    """One whose processes SIGUSR2 blocks for so long."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "faults" / "blockable")))
    file = configured(folder, urls, **settings)
    with _served(file, workers, PYTHONPATH=path, BLOCKED_FOR=str(seconds)) as gateway:
        gateway.heard("listening on", workers + (workers > 1))
        yield gateway


@contextmanager
def _served(file: Path, workers: int, **variables: str):
    process = _started(file, workers, **variables)
    gateway = Supervised(process, file)
    reader = threading.Thread(target=gateway.read)
    reader.start()
    try:
        yield gateway
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def pids(gateway: Supervised) -> dict[int, int]:
    """The process of each worker that is ready."""
    with httpx.Client(trust_env=False) as client:
        status = client.get(f"http://127.0.0.1:{gateway.ops}/status", timeout=SOON).json()
    return {row["worker"]: row["pid"] for row in status["workers"]}


def gone(pid: int) -> bool:
    """Whether a process that is not our child has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait(true: Callable[[], bool], within: float = SOON) -> None:
    """For a condition that nobody announces."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@asynccontextmanager
async def operator(gateway: Supervised, headers: Mapping[str, str] | None = None):
    """A client of the operators' port."""
    headers = {"authorization": f"Bearer {TOKEN}"} if headers is None else headers
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.ops}", headers=headers, trust_env=False, timeout=SOON
    ) as client:
        yield client
