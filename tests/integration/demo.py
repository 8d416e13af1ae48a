"""Starts `sluice demo` as somebody would who has just cloned the repository."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLUICE = [sys.executable, "-P", "-m", "app"]
SOON = 30.0
PROXIES = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def environ(**more):
    """Of a process that finds this tree, and no gateway or proxy that happens to be set here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def demo(folder, *words, command=SLUICE, **more):
    """A demo that has greeted, and what it said."""
    command = [*command, "demo", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=folder, env=environ(**more), **pipes)
    with process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if line.startswith("Ctrl-C"):
                    break
            assert lines[-1:] == ["Ctrl-C stops it. Calls from here on:"], lines
            yield process, lines
        finally:
            process.kill()
