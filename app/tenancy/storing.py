"""The store as the ledger meets it: known to be prompt or not."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from app.core.clock import Clock
    from app.store.usage import UsageRow

logger = logging.getLogger(__name__)


class Rows(Protocol):
    """Where rows of the ledger become durable."""

    def write(self, rows: Sequence[UsageRow]) -> Awaitable[None]:
        """All rows or none; writing a row again changes nothing. Raises StorageUnavailable."""
        ...

    async def aclose(self) -> None: ...


class Storing:
    """`prompt` while the last write ended well within `after` seconds."""

    def __init__(self, store: Rows, clock: Clock, after: float) -> None:
        self._store = store
        self._clock = clock
        self.after = after
        self.prompt = True

    def write(self, rows: Sequence[UsageRow]) -> asyncio.Future[None]:
        """Begun already, and ends by itself; raises StorageUnavailable."""
        write = asyncio.ensure_future(self._store.write(rows))
        write.add_done_callback(partial(self._judge, self._clock.monotonic()))
        return write

    def _judge(self, began: float, write: asyncio.Future[None]) -> None:
        if write.cancelled():
            return
        error = write.exception()
        if error is not None:
            self.doubt(repr(error.__cause__ or error))
        elif self._clock.monotonic() - began > self.after:
            self.doubt("it is slow")
        elif not self.prompt:
            self.prompt = True
            logger.warning("the store takes usage rows again")

    def doubt(self, why: str) -> None:
        """Rows go elsewhere first, until a write is prompt again."""
        if self.prompt:
            self.prompt = False
            logger.warning("the store does not take usage rows, the journal does: %s", why)

    async def aclose(self) -> None:
        await self._store.aclose()

    def __repr__(self) -> str:
        return f"<Storing prompt={self.prompt}>"
