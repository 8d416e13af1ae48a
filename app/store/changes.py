"""Tells every process, within a second, that another one changed tenants, keys or the fleet's intents."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select, update

from app.core.errors import StorageUnavailable
from app.store.tables import counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.core.clock import Clock
    from app.store.database import Database

Topic = Literal["tenants", "fleet"]
INTERVAL = 0.5

logger = logging.getLogger(__name__)


async def stamp(connection: AsyncConnection, topic: Topic) -> int:
    """The next version of a topic; the first statement of every changing transaction.

    The counter's row stays locked until that commits: changes of one topic happen one after the other,
    and their versions become visible in order.
    """
    await connection.execute(
        update(counters).where(counters.c.name == topic).values(value=counters.c.value + 1)
    )
    return int(await connection.scalar(select(counters.c.value).where(counters.c.name == topic)) or 0)


class Changes:
    """Compares one small table with what was seen of it; subscribers hear of a difference.

    `confirmed` is the monotonic time at which everything heard was last known to be the newest.
    A subscriber that fails hears again at the next look.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seen: dict[str, int] = {}
        self._subscribers: list[tuple[Topic, Callable[[], Awaitable[None]]]] = []
        self._looking = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self.confirmed = clock.monotonic()
        self.reachable = True

    def subscribe(self, topic: Topic, hear: Callable[[], Awaitable[None]]) -> None:
        """`hear` is called at the first look too."""
        self._subscribers.append((topic, hear))

    async def look(self) -> None:
        """Look now; whoever changed something awaits this before saying that it is done."""
        async with self._looking:
            asked = self._clock.monotonic()
            async with self._database.read() as connection:
                rows = (await connection.execute(select(counters.c.name, counters.c.value))).all()
            for name, value in rows:
                if self._seen.get(name) != value:
                    for topic, hear in self._subscribers:
                        if topic == name:
                            await hear()
                    self._seen[name] = value
            self.confirmed = asked

    def start(self) -> None:
        self._watch = asyncio.create_task(self._run(), name="store changes")

    async def aclose(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def _run(self) -> None:
        while True:
            reachable = await self._looked()
            if reachable != self.reachable:
                self.reachable = reachable
                logger.warning("the store is reachable again" if reachable else "the store is out of reach")
            await self._clock.sleep(INTERVAL)

    async def _looked(self) -> bool:
        try:
            await self.look()
        except StorageUnavailable:
            return False
        except Exception:
            logger.exception("looking for changes failed")
            return False
        return True
