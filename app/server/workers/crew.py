"""The crew: a worker on every seat, from the first one's readiness until all are told to leave."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.core.clock import Clock
    from app.server.workers.worker import Worker

    Hire = Callable[[int], Awaitable[Worker]]

logger = logging.getLogger(__name__)

STEADY = 30.0
"""A worker that lived for so long is replaced at once."""

LONGEST_PAUSE = 30.0
LAST_WORDS = 10.0
"""Beyond the time it was given to end its calls, a worker gets so long before it is killed."""


class Crew:
    """Replaces a worker that ends unasked: at once, then 1 s later, doubling to 30 s while it goes on."""

    def __init__(self, count: int, hire: Hire, heard: Callable[[Worker, Any], object], clock: Clock) -> None:
        """`heard` gets everything that a worker says."""
        self._count = count
        self._hire = hire
        self._heard = heard
        self._clock = clock
        self._seats: dict[int, Worker] = {}
        self._codes: list[int] = []
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> list[Worker]:
        """Those alive, by seat."""
        return [self._seats[seat] for seat in sorted(self._seats)]

    @property
    def ready(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.ready]

    @property
    def leaving(self) -> bool:
        return self._leaving.is_set()

    async def start(self) -> bool:
        """Whether the first worker became ready; if not, it has said why, or `gone` raises why it could not
        be started. The others follow by themselves.
        """
        first = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._keep(0, first), name="worker 0"))
        await first.wait()
        if not self.ready:
            return False
        self._tasks += [
            asyncio.create_task(self._keep(seat), name=f"worker {seat}") for seat in range(1, self._count)
        ]
        return True

    def leave(self, patience: float) -> None:
        """Ask all to end; killed are those that have not within `patience` and a little more."""
        self._leaving.set()
        for worker in self.workers:
            worker.signal(signal.SIGTERM)
        self._clock.call_later(patience + LAST_WORDS, self._kill)

    def tell(self, message: Any) -> None:
        for worker in self.workers:
            worker.channel.send(message)

    async def gone(self) -> int:
        """Returns the worst exit code once nobody is left."""
        await asyncio.gather(*self._tasks)
        return max(self._codes, default=0)

    def _kill(self) -> None:
        for worker in self.workers:
            logger.error("worker %d does not end and is killed", worker.seat)
            worker.signal(signal.SIGKILL)

    async def _keep(self, seat: int, first: asyncio.Event | None = None) -> None:
        failures = 0
        while not self.leaving:
            try:
                worker = self._seats[seat] = await self._hire(seat)
            except Exception:
                if first is not None:
                    first.set()
                    raise
                logger.exception("worker %d cannot be started", seat)
                await self._rest(LONGEST_PAUSE)
                continue
            life = asyncio.create_task(worker.hear(self._heard), name=f"life of worker {seat}")
            if self.leaving:
                worker.signal(signal.SIGTERM)
            begun = await worker.begun()
            if first is not None:
                first.set()
            code = await life
            del self._seats[seat]
            if self.leaving or (first is not None and not begun):
                unborn = self.leaving and not begun and code == 128 + signal.SIGTERM
                self._codes.append(0 if unborn else code)
                return
            first = None
            lived = self._clock.monotonic() - worker.born
            failures = 0 if lived >= STEADY else failures + 1
            pause = min(LONGEST_PAUSE, 2.0 ** (failures - 2)) if failures > 1 else 0.0
            logger.error(
                "worker %d (process %d) ended with code %d after %.0f s; replaced in %.0f s",
                *(seat, worker.pid, code, lived, pause),
            )
            await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        """Until the pause is over, or all are to leave."""
        over = asyncio.create_task(self._clock.sleep(pause))
        leave = asyncio.create_task(self._leaving.wait())
        await asyncio.wait({over, leave}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (over, leave):
            waiting.cancel()

    def __repr__(self) -> str:
        return f"<Crew {self.workers} of {self._count}>"
