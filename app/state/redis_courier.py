"""Carries operations to Redis while it answers, and finds out when it does again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from app.state.redis_batch import LARGEST, Code, Operation
from app.state.redis_link import Link, Unreachable
from app.state.redis_outbox import Outbox

if TYPE_CHECKING:
    from app.core.clock import Clock, Timer
    from app.state.redis_link import Answer

AT_START = 1.0
BEAT = 1.0
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0
STEADY_AFTER = 10.0

logger = logging.getLogger(__name__)


class Heir(Protocol):
    """Who decides on, when Redis comes and goes."""

    def heard(self, operation: Operation, result: list[float]) -> None:
        """Redis decided a take or a look, whether or not somebody still waits for it."""
        ...

    def forgotten(self) -> list[Operation]:
        """Redis did not know this gateway (any more): what to tell it first."""
        ...

    def lost(self) -> None:
        """Redis does not answer; nothing waits for it from now on."""
        ...

    def found(self) -> list[Operation]:
        """It answers again, and believes that this gateway holds nothing: what to tell it first."""
        ...

    def due(self) -> None:
        """Redis asks this gateway for what the ledger says of the quotas."""
        ...


class Courier:
    """One batch is under way at a time; what is asked meanwhile is the next, so load makes batches large.

    One answer that does not come in time closes the way at once: it is asked again in the background,
    at growing distances while it does not stay open. `patience` is how many seconds one who asks waits,
    and 0.4 of it at least from when the batch is sent.
    """

    def __init__(
        self, url: str, gateway: str, clock: Clock, heir: Heir, *, own_time: bool, patience: float
    ) -> None:
        self.outbox = Outbox(gateway)
        self.gateways = 1
        self.up = False
        self._clock = clock
        self._heir = heir
        self._own_time = own_time
        self._patience = patience
        self._link = Link(url)
        self._wake = asyncio.Event()
        self._beat_due = False
        self._since = 0.0
        self._up_at = clock.monotonic()
        self._wait = FIRST_WAIT
        self._closing = False
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._timer = self._clock.call_later(BEAT, self._beat)
        self._task = asyncio.create_task(self._run(), name="shared limits")

    def put(self, operation: Operation) -> None:
        """Tell it in time; never waits."""
        if not len(self.outbox):
            self._since = self._clock.monotonic()
        self.outbox.put(operation)
        self._wake.set()

    async def recover(self, patience: float) -> bool:
        """Ask whether Redis is there; True: it decides from now on."""
        try:
            answer = await self._link.exchange(self.outbox.question(self._now), patience)
        except Unreachable:
            return False
        last, _, self.gateways, due, _ = answer
        self.outbox.found(last)
        self.outbox.put_first(self._heir.found())
        self.up = True
        self._up_at = self._clock.monotonic()
        if due:
            self._heir.due()
        return True

    async def aclose(self) -> None:
        """What is still to be told is told, if Redis answers; it holds nothing for this gateway then."""
        self._closing = True
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            if not self.up:
                self._task.cancel()
            await asyncio.wait({self._task})
        self.put(Operation(Code.LEAVE))
        while self.up and len(self.outbox):
            await self._send()
        await self._link.aclose()

    @property
    def _now(self) -> float | bool:
        return self._clock.monotonic() if self._own_time else False

    def _beat(self) -> None:
        self._beat_due = True
        self._wake.set()
        self._timer = self._clock.call_later(BEAT, self._beat)

    async def _run(self) -> None:
        while not self._closing:
            if not self.up:
                await self._seek()
                continue
            while not (len(self.outbox) or self._beat_due or self._closing):
                self._wake.clear()
                await self._wake.wait()
            self._beat_due = False
            await self._send()

    async def _seek(self) -> None:
        if self._clock.monotonic() - self._up_at >= STEADY_AFTER:
            self._wait = FIRST_WAIT
        else:
            await self._clock.sleep(self._wait)
            self._wait = min(LONGEST_WAIT, self._wait * 2)
        while not await self._answers():
            await self._clock.sleep(self._wait)
            self._wait = min(LONGEST_WAIT, self._wait * 2)
        logger.warning("shared limits: Redis decides again, over %d gateways", self.gateways)

    async def _answers(self) -> bool:
        try:
            return await self.recover(self._patience)
        except Exception:
            logger.exception("shared limits: an answer of Redis makes no sense")
            return False

    async def _send(self) -> None:
        now = self._clock.monotonic()
        patience = max(0.4 * self._patience, self._patience - (now - self._since))
        batch = self.outbox.batch(self._now)
        if len(self.outbox) < LARGEST:
            self._since = now
        try:
            self._hear(await self._link.exchange(batch, patience))
        except Unreachable as error:
            self._lose(error)
        except Exception as error:
            logger.exception("shared limits: an answer of Redis makes no sense")
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self.up = False
        self._heir.lost()
        self.outbox.lose()
        logger.warning(
            "shared limits: Redis is away (%s); this gateway gives 1/%d of each", error, self.gateways
        )

    def _hear(self, answer: Answer) -> None:
        _, alive, self.gateways, due, results = answer
        asked = [each for each in self.outbox.under_way if each.code in (Code.TAKE, Code.LOOK)]
        for operation, result in zip(asked, results, strict=True):
            self._heir.heard(operation, result)
        self.outbox.heard()
        if not alive:
            self.outbox.put_first(self._heir.forgotten())
        if due:
            self._heir.due()
