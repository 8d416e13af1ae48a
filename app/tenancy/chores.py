"""What has to be done now and then for as long as a gateway runs, each chore at its own pace."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from app.core.clock import Clock

logger = logging.getLogger(__name__)


class Chore(NamedTuple):
    """Done `every` so many seconds, the first time after that long."""

    name: str
    every: float
    work: Callable[[], Awaitable[object]]


class Chores:
    """No chore keeps another waiting. What fails is tried again at its next turn."""

    def __init__(self, clock: Clock, chores: Sequence[Chore]) -> None:
        self._clock = clock
        self._chores = chores
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Needs a running loop."""
        self._tasks = [asyncio.create_task(self._run(chore), name=chore.name) for chore in self._chores]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self, chore: Chore) -> None:
        failing = False
        while True:
            await self._clock.sleep(chore.every)
            try:
                await chore.work()
                failing = False
            except StorageUnavailable as error:
                if not failing:
                    logger.warning("%s has to wait: %r", chore.name, error.__cause__ or error)
                failing = True
            except Exception:
                logger.exception("%s failed", chore.name)
