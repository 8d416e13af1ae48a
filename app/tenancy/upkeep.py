"""Keeps the ledger in order: says that this gateway lives, and ends dead ones' calls."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable
from app.store.orphans import DEAD_AFTER, HEARTBEAT

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.store.orphans import Orphans

logger = logging.getLogger(__name__)


class Upkeep:
    """What fails is tried again at the next turn, five seconds later.

    After an outage of the store every gateway looks dead to the others: whoever was out of touch himself
    gives them the time to say that they live before he ends their calls.
    """

    def __init__(self, orphans: Orphans, clock: Clock) -> None:
        self._orphans = orphans
        self._clock = clock
        self._judges_from = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The first turn is over when this returns: what a crash left open is closed."""
        await self._turn()
        self._task = asyncio.create_task(self._run(), name="ledger upkeep")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(StorageUnavailable):
            await self._orphans.gone()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT)
            try:
                await self._turn()
            except StorageUnavailable:
                continue
            except Exception:
                logger.exception("keeping the ledger failed")

    async def _turn(self) -> None:
        try:
            await self._orphans.seen()
        except StorageUnavailable:
            self._judges_from = self._clock.monotonic() + DEAD_AFTER
            raise
        if self._clock.monotonic() >= self._judges_from:
            closed = await self._orphans.close()
            if closed:
                logger.warning("%d calls of a dead gateway were closed as crashed", closed)
