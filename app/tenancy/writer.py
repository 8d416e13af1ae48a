"""Writes rows together: they queue in memory, one for each call, and many become durable with one commit."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from app.core.patience import Countdown
from app.tenancy.commit import Commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.store.usage import UsageRow
    from app.tenancy.ledger import LedgerOptions
    from app.tenancy.storing import Rows

logger = logging.getLogger(__name__)

_BUSY = 4
"""Rows of one commit that show a busy ledger: after fewer the next commit may follow sooner."""


class Writer:
    """No row is ever dropped; one that cannot be written is retried. A later row of a call replaces one that
    still waits, but never its end; a call that ends before its beginning was written becomes one row.

    `opened` makes the row of a beginning. `committed` hears of every commit: how many rows, how many seconds.
    """

    def __init__(
        self,
        rows: Rows,
        opened: Callable[[Call], UsageRow],
        clock: Clock,
        options: LedgerOptions,
        committed: Callable[[int, float], object] | None,
    ) -> None:
        self._rows = rows
        self._opened = opened
        self._clock = clock
        self._options = options
        self._committed = committed
        self._beginning: dict[str, Call] = {}
        self._queued: dict[str, UsageRow] = {}
        self._writing: list[UsageRow] = []
        self._batch = Commit()
        self._timer: Countdown | None = None
        self._late: set[Commit] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ledger writer")

    def begin(self, call: Call) -> None:
        """Queue the open row, to be made when it is written."""
        if call.id not in self._queued:
            self._beginning[call.id] = call
            self._wake.set()

    def put(self, row: UsageRow) -> None:
        """Queue an open row that is known already."""
        self._queue(row)

    def end(self, row: UsageRow) -> Commit:
        """Queue an end; the first one counts."""
        if self._queue(row) and self._timer is None:
            self._timer = Countdown(self._clock, self._options.max_wait, partial(self._expire, self._batch))
        return self._batch

    @property
    def pending(self) -> int:
        """Rows that are not durable yet."""
        return len(self._beginning) + len(self._queued) + len(self._writing)

    @property
    def overdue(self) -> bool:
        """Some call's end is not durable though `max_wait` is over."""
        return bool(self._late)

    async def aclose(self) -> None:
        """Write what is queued; gives up after `max_wait`."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, self._options.max_wait)
        await self._rows.aclose()
        if self.pending:
            logger.error("the ledger closed with %d rows not written", self.pending)

    def __repr__(self) -> str:
        queued = len(self._beginning) + len(self._queued)
        return f"<Writer queued={queued} writing={len(self._writing)} overdue={self.overdue}>"

    def _queue(self, row: UsageRow) -> bool:
        """Whether it took its place: an end that waits keeps it."""
        self._beginning.pop(row.call_id, None)
        queued = self._queued.get(row.call_id)
        if queued is not None and queued.state != "open":
            return False
        self._queued[row.call_id] = row
        self._wake.set()
        return True

    def _expire(self, batch: Commit) -> None:
        if not self._late:
            logger.warning("the ledger is late: callers wait no longer, and new calls are refused")
        self._late.add(batch)
        batch.expire()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._queued or self._beginning:
                began = self._clock.monotonic()
                share = min(1.0, await self._flush() / _BUSY)
                rest = share * self._options.pace - (self._clock.monotonic() - began)
                if rest > 0 and not self._closing:
                    await self._clock.sleep(rest)
            elif self._closing:
                return
            if not self._queued and not self._beginning and not self._closing:
                self._wake.clear()

    async def _flush(self) -> int:
        """Write everything queued up to now, as long as it takes; how many rows that were."""
        batch, timer = self._batch, self._timer
        self._batch, self._timer = Commit(), None
        beginning, self._beginning = self._beginning, {}
        queued, self._queued = self._queued, {}
        self._writing = [*map(self._opened, beginning.values()), *queued.values()]
        rows = len(self._writing)
        while self._writing:
            some = self._writing[: self._options.batch]
            if await self._written(some):
                del self._writing[: len(some)]
            else:
                await self._clock.sleep(self._options.retry)
        if timer is not None:
            timer.cancel()
        if batch in self._late:
            self._late.discard(batch)
            if not self._late:
                logger.warning("the ledger is in time again")
        batch.done()
        return rows

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
