"""The durability of one batch, awaited by any number of callers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator


class Commit:
    """Whoever awaits it resumes when the batch is durable, or raises StorageUnavailable when it is late.

    Each waiter has a future of its own: cancelling one touches no other, dropping all loses nothing.
    """

    __slots__ = ("_waiters", "durable", "late")

    def __init__(self) -> None:
        self.durable = False
        self.late = False
        self._waiters: list[asyncio.Future[None]] = []

    def done(self) -> None:
        self.durable = True
        self._wake()

    def expire(self) -> None:
        """The time that callers wait is over; the batch itself is still going to be written."""
        if not self.durable:
            self.late = True
            self._wake()

    def __await__(self) -> Generator[object, None, None]:
        if not self.durable and not self.late:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            yield from waiter
        if not self.durable:
            raise StorageUnavailable

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
