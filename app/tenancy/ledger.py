"""The book of calls: each is opened, written again while it grows, and ended once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from app.core.units import Seconds, Size
from app.tenancy.checkpoints import SWEEP, Checkpoints
from app.tenancy.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.outcome import Settlement
    from app.tenancy.commit import Commit
    from app.tenancy.entry import Entries
    from app.tenancy.storing import Rows

logger = logging.getLogger(__name__)


class JournalOptions(BaseModel, frozen=True, extra="forbid"):
    """Where rows go that the store has not taken `after` so many seconds.

    A relative `path` lies beside the SQLite file, or in the working directory.
    """

    path: str = "sluice-journal.db"
    max_bytes: Size = Field(default=256 * 2**20, gt=0)
    after: Seconds = Field(default=0.25, gt=0)


class LedgerOptions(BaseModel, frozen=True, extra="forbid"):
    """`max_wait` is how long a caller's last byte waits for its row to be durable.

    `pace` spaces commits under load: an idle ledger commits at once, a busy one every `pace` seconds, and one
    with a row now and then after a part of that.
    `batch` rows are one transaction. A commit later than `max_wait` stops new calls. `commit: journal`
    makes rows durable in the journal and leaves the store to follow.
    """

    commit: Literal["store", "journal"] = "store"
    max_wait: Seconds = 2.0
    pace: Seconds = 0.01
    batch: int = Field(default=500, gt=0)
    retry: Seconds = 0.25
    journal: JournalOptions = JournalOptions()
    when_full: Literal["refuse"] = "refuse"
    retention: Seconds = 400 * 86400.0
    timezone: str = "UTC"


class StoreLedger:
    """Implements core.ports.Ledger.

    A call that ends before its open row was written becomes one row; one that lasts is written again as it
    grows, once a second at most, so that a killed gateway leaves what was known of it.
    """

    def __init__(
        self,
        rows: Rows,
        entries: Entries,
        clock: Clock,
        options: LedgerOptions | None = None,
        committed: Callable[[int, float], object] | None = None,
    ) -> None:
        self._entries = entries
        self._clock = clock
        self._writer = Writer(rows, entries.opened, clock, options or LedgerOptions(), committed)
        self._checkpoints = Checkpoints()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="ledger checkpoints")

    def open(self, call: Call) -> None:
        self._writer.begin(call)
        self._checkpoints.watch(call, self._clock.monotonic())

    def settle(self, call: Call, settlement: Settlement) -> Commit:
        self._checkpoints.forget(call)
        return self._writer.end(self._entries.settled(call, settlement))

    @property
    def pending(self) -> int:
        """Rows that are not durable yet."""
        return self._writer.pending

    @property
    def overdue(self) -> bool:
        """Some call's end is not durable though `max_wait` is over."""
        return self._writer.overdue

    async def aclose(self) -> None:
        """Write what is queued; gives up after `max_wait`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
        await self._writer.aclose()

    def __repr__(self) -> str:
        return f"<StoreLedger open={len(self._checkpoints)} {self._writer!r}>"

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP)
            try:
                for call in self._checkpoints.moved(self._clock.monotonic()):
                    self._writer.put(self._entries.checkpoint(call))
            except Exception:
                logger.exception("a checkpoint failed")
