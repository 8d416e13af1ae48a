"""A gateway process without the second that its imports take: forked from one that has made them."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from app.cli.serve import serve

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PRELOADED = [__name__, "app.cli.running", "app.telemetry.logs"]


def forked(config: Path, log: Path) -> BaseProcess:
    """`serve` with this configuration; nothing else of a gateway has run in it before."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOADED)
    process = forks.Process(target=_serve, args=(config, log), daemon=True)
    process.start()
    return process


def _serve(config: Path, log: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        del os.environ[name]
    os.chdir(config.parent)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    serve.main(["--config", str(config)], prog_name="sluice serve")
