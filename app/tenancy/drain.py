"""Carries what the journal holds to the store, oldest first, and thereby learns when the store is back."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.journal import Journal
    from app.tenancy.storing import Storing

REST = 0.05
LONGEST = 2.0
CATCH_UP = 5.0

logger = logging.getLogger(__name__)


class Drain:
    """Rows are forgotten after the store has committed them: a crash in between sends them again, which
    changes nothing. A store that fails is tried again after `retry` seconds, then after longer.
    """

    def __init__(self, journal: Journal, storing: Storing, clock: Clock, *, batch: int, retry: float) -> None:
        self._journal = journal
        self._storing = storing
        self._clock = clock
        self._batch = batch
        self._retry = retry
        self._filled = asyncio.Event()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What a process before this one left is in the store when it returns, if the store takes it soon."""
        await self._catch_up()
        self._filled.set()
        self._task = asyncio.create_task(self._run(), name="journal drain")

    def wake(self) -> None:
        """The journal has got rows."""
        self._filled.set()

    async def aclose(self) -> None:
        """Leaves nothing behind if the store takes it soon."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if self._storing.prompt:
                await self._catch_up()
        if self._journal.backlog:
            logger.warning("%d usage rows stay in the journal until the next start", self._journal.backlog)

    async def _catch_up(self) -> None:
        until = self._clock.monotonic() + CATCH_UP
        try:
            while await self._carried() and self._clock.monotonic() < until:
                pass
        except StorageUnavailable:
            return
        except Exception:
            logger.exception("draining the journal failed")

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            await self._clock.sleep(await self._step())

    async def _step(self) -> float:
        """Carry one piece; how long to wait before the next."""
        try:
            carried = await self._carried()
        except Exception as error:
            if not (self._failures or isinstance(error, StorageUnavailable)):
                logger.exception("draining the journal failed")
            self._failures += 1
            self._filled.set()
            return min(LONGEST, self._retry * 2.0 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)
        self._failures = 0
        if carried:
            self._filled.set()
        return 0.0 if carried >= self._batch else REST

    async def _carried(self) -> int:
        """How many rows went over; 0 when the journal is empty."""
        held = await self._journal.oldest(self._batch)
        if held is None:
            return 0
        await self._storing.write(held.rows)
        await self._journal.forget(held)
        return len(held.rows)
