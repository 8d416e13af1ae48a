"""Opens a stream that has nothing to say yet: its head after a while, then comments, until the first event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.core.clock import Clock, Timer

PING = b": ping\n\n"


class Opening:
    """Calls `send(comment)` first `commit_after` seconds after the dispatch, then every `ping` seconds.

    `dispatched` gives the monotonic time of the dispatch, None while the call is still queued.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        commit_after: float,
        ping: float,
        dispatched: Callable[[], float | None],
        clock: Clock,
    ) -> None:
        self._send = send
        self._commit_after = commit_after
        self._ping = ping
        self._dispatched = dispatched
        self._clock = clock
        self._sending: asyncio.Task[None] | None = None
        self._timer: Timer | None = clock.call_later(commit_after, self._due)

    async def finish(self) -> bool:
        """End it, in order with what is sent next; True if the head has been sent."""
        self._disarm()
        if self._sending is None:
            return False
        await self._sending
        self._disarm()
        return True

    def cancel(self) -> None:
        """End it at once; nothing will be sent any more."""
        self._disarm()
        if self._sending is not None:
            self._sending.cancel()

    def _due(self) -> None:
        self._timer = None
        began = self._dispatched()
        waited = 0.0 if began is None else self._clock.monotonic() - began
        if self._sending is None and waited < self._commit_after:
            self._timer = self._clock.call_later(self._commit_after - waited, self._due)
        else:
            self._sending = asyncio.ensure_future(self._comment())

    async def _comment(self) -> None:
        await self._send(PING)
        self._timer = self._clock.call_later(self._ping, self._due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
