"""A gateway of several workers as a process, whatever they would share their limits in: FILE, number of workers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from app.cli.workers.supervise import run_workers
from app.settings import load
from app.telemetry.logs import configure_logging

if __name__ == "__main__":
    reread = partial(load, Path(sys.argv[1]), environ={})
    settings = reread()
    configure_logging(settings.logging)
    sys.exit(run_workers(settings, reread, int(sys.argv[2])))
