"""Makes rows durable in one of two places: the store, or the journal when the store is slow or gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.clock import Clock
    from app.store.journal import Journal
    from app.store.usage import UsageRow
    from app.tenancy.drain import Drain
    from app.tenancy.storing import Storing


class JournaledRows:
    """Rows are in the store or in the journal when `write` returns, and in the store in the end.

    A write that the store has not ended in time goes on there while the journal takes the rows too: both
    may succeed, since writing a row twice changes nothing. `straight` False: always the journal first.
    """

    def __init__(
        self, storing: Storing, journal: Journal, drain: Drain, clock: Clock, *, straight: bool = True
    ) -> None:
        self._storing = storing
        self._journal = journal
        self._drain = drain
        self._clock = clock
        self._straight = straight
        self._under_way: set[asyncio.Future[None]] = set()

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """Raises StorageUnavailable when neither takes them."""
        writes: list[asyncio.Future[None]] = []
        if self._straight and self._storing.prompt:
            stored = self._begun(self._storing.write(rows))
            if await self._in_time(stored):
                return
            self._storing.doubt("it is slow")
            writes.append(stored)
        noted = self._begun(asyncio.create_task(self._note(rows)))
        noted.add_done_callback(_heard)
        writes.append(noted)
        try:
            await _first(writes)
        except StorageUnavailable:
            if len(writes) > 1:
                raise
            await self._storing.write(rows)

    async def aclose(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._drain.aclose()
        await self._storing.aclose()
        await self._journal.aclose()

    async def _note(self, rows: Sequence[UsageRow]) -> None:
        await self._journal.write(rows)
        self._drain.wake()

    def _begun(self, write: asyncio.Future[None]) -> asyncio.Future[None]:
        """A write that ends by itself, whoever stops waiting for it."""
        self._under_way.add(write)
        write.add_done_callback(self._under_way.discard)
        return write

    async def _in_time(self, write: asyncio.Future[None]) -> bool:
        """Whether the write has succeeded; it goes on where it has not ended."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        write.add_done_callback(wake)
        timer = self._clock.call_later(self._storing.after, wake)
        try:
            await over
        finally:
            timer.cancel()
        return write.done() and write.exception() is None


def _heard(write: asyncio.Future[None]) -> None:
    """Its failure is known, though nobody may be waiting for it any more."""
    if not write.cancelled():
        write.exception()


async def _first(writes: list[asyncio.Future[None]]) -> None:
    """Return as soon as one has succeeded; raise when all have failed."""
    left = set(writes)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is None for task in done):
            return
    raise writes[-1].exception() or StorageUnavailable()
