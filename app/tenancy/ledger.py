"""The book of calls: entries queue in memory and reach the store together, a commit for many."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from app.core.units import Seconds, Size
from app.tenancy.checkpoints import SWEEP, Checkpoints
from app.tenancy.commit import Commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock, Timer
    from app.core.outcome import Settlement
    from app.store.usage import UsageRow
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

    `pace` spaces commits under load: an idle ledger commits at once, a busy one every `pace` seconds.
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
    """Implements core.ports.Ledger. No entry is ever dropped; one that cannot be written is retried.

    A call that ends before its open row was written becomes one row; one that lasts is written again as it
    grows, once a second at most. `committed` hears of every commit: how many rows, and how many seconds.
    """

    def __init__(
        self,
        rows: Rows,
        entries: Entries,
        clock: Clock,
        options: LedgerOptions | None = None,
        committed: Callable[[int, float], object] | None = None,
    ) -> None:
        self._rows = rows
        self._entries = entries
        self._clock = clock
        self._options = options or LedgerOptions()
        self._committed = committed
        self._queued: dict[str, UsageRow] = {}
        self._writing: list[UsageRow] = []
        self._checkpoints = Checkpoints()
        self._batch = Commit()
        self._timer: Timer | None = None
        self._late: set[Commit] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        self._writer = asyncio.create_task(self._run(), name="ledger writer")
        self._sweeper = asyncio.create_task(self._sweep(), name="ledger checkpoints")

    def open(self, call: Call) -> None:
        if call.id not in self._queued:
            self._queued[call.id] = self._entries.opened(call)
            self._checkpoints.watch(call, self._clock.monotonic())
            self._wake.set()

    def settle(self, call: Call, settlement: Settlement) -> Commit:
        self._checkpoints.forget(call)
        queued = self._queued.get(call.id)
        if queued is None or queued.state == "open":
            self._queued[call.id] = self._entries.settled(call, settlement)
            if self._timer is None:
                self._timer = self._clock.call_later(self._options.max_wait, self._expire(self._batch))
            self._wake.set()
        return self._batch

    @property
    def pending(self) -> int:
        """Rows that are not durable yet."""
        return len(self._queued) + len(self._writing)

    @property
    def overdue(self) -> bool:
        """Some call's end is not durable though `max_wait` is over."""
        return bool(self._late)

    async def aclose(self) -> None:
        """Write what is queued; gives up after `max_wait`."""
        self._closing = True
        self._wake.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
        if self._writer is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._writer, self._options.max_wait)
        await self._rows.aclose()
        if self.pending:
            logger.error("the ledger closed with %d rows not written", self.pending)

    def __repr__(self) -> str:
        return f"<StoreLedger queued={len(self._queued)} writing={len(self._writing)} overdue={self.overdue}>"

    def _expire(self, batch: Commit) -> Callable[[], None]:
        def expire() -> None:
            self._late.add(batch)
            batch.expire()

        return expire

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._queued:
                began = self._clock.monotonic()
                await self._flush()
                rest = self._options.pace - (self._clock.monotonic() - began)
                if rest > 0 and not self._closing:
                    await self._clock.sleep(rest)
            elif self._closing:
                return
            if not self._queued and not self._closing:
                self._wake.clear()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP)
            try:
                for call in self._checkpoints.moved(self._clock.monotonic()):
                    self._queued[call.id] = self._entries.checkpoint(call)
                    self._wake.set()
            except Exception:
                logger.exception("a checkpoint failed")

    async def _flush(self) -> None:
        """Write everything queued up to now, as long as it takes."""
        batch, timer = self._batch, self._timer
        self._batch, self._timer = Commit(), None
        self._writing, self._queued = list(self._queued.values()), {}
        while self._writing:
            some = self._writing[: self._options.batch]
            if await self._written(some):
                del self._writing[: len(some)]
            else:
                await self._clock.sleep(self._options.retry)
        if timer is not None:
            timer.cancel()
        self._late.discard(batch)
        batch.done()

    async def _written(self, rows: list[UsageRow]) -> bool:
        began = self._clock.monotonic()
        try:
            await self._rows.write(rows)
        except Exception as error:
            if not self._failing:
                logger.warning("the ledger cannot be written: %r", error.__cause__ or error)
            self._failing = True
            return False
        if self._failing:
            logger.warning("the ledger is written again")
        self._failing = False
        if self._committed is not None:
            self._committed(len(rows), self._clock.monotonic() - began)
        return True
