"""A worker whose event loop hangs serves nobody, while the kernel goes on giving it connections: it is replaced."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

from app.core.clock import SystemClock
from app.server.watchdog import DUMP

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.server.workers.crew import Crew

logger = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between a worker's signs of life."""

_WRITING = 1.0
"""Seconds for a worker to write its stacks."""


async def end_hung(crew: Crew, after: float, clock: Clock | None = None) -> None:
    """Until cancelled: kill every ready worker that was silent for `after` seconds, once its stacks are written.

    The looks are counted, not the time: a supervisor that was suspended itself has heard nobody.
    """
    clock = clock or SystemClock()
    while True:
        await clock.sleep(BEAT)
        hung = []
        for worker in crew.ready:
            worker.silent += BEAT
            if worker.silent > after:
                hung.append(worker)
        if not hung or crew.leaving:
            continue
        for worker in hung:
            logger.error("worker %d (process %d) hangs and is killed", worker.seat, worker.pid)
            worker.signal(DUMP)
        await clock.sleep(_WRITING)
        for worker in hung:
            if worker.silent > after:
                worker.signal(signal.SIGKILL)
