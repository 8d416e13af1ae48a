"""Rounds: a task of its own for every endpoint, so that a slow one keeps nobody waiting."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.core.clock import Clock
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet

    Visit = Callable[[], Awaitable[float]]

logger = logging.getLogger(__name__)

AFTER_A_BUG = 5.0


class Rounds:
    """Visits every endpoint of the fleet again and again, from its arrival until it leaves.

    `visits` makes an endpoint's visit, which returns the seconds until the next; +-10 % are added, so
    that endpoints and gateways do not fall into step.
    """

    def __init__(
        self,
        fleet: Fleet,
        visits: Callable[[LiveEndpoint], Visit],
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._visits = visits
        self._clock = clock
        self._jitter = jitter
        self._tasks: dict[LiveEndpoint, asyncio.Task[None]] = {}
        self._bells: dict[LiveEndpoint, asyncio.Event] = {}
        self._unvisited: set[LiveEndpoint] = set()
        self._all_visited = asyncio.Event()
        self._dropped: set[asyncio.Task[None]] = set()
        self._started = False

    def start(self) -> None:
        """Needs a running loop; the first visits begin at once."""
        self._started = True
        self._fleet.subscribe(self._hear)
        for endpoint in self._fleet.endpoints.values():
            self._begin(endpoint)
        self._check_first()

    async def first(self, patience: float) -> None:
        """Done when every endpoint known by now has been visited once or has left; after `patience`
        seconds in any case.
        """
        timer = self._clock.call_later(patience, self._all_visited.set)
        try:
            await self._all_visited.wait()
        finally:
            timer.cancel()

    def hurry(self, endpoint: LiveEndpoint) -> None:
        """Visit it now rather than later."""
        bell = self._bells.get(endpoint)
        if bell is not None:
            bell.set()

    def hurry_to(self, url: str) -> None:
        """The same for whatever is at an address."""
        for endpoint, bell in self._bells.items():
            if endpoint.spec.url == url:
                bell.set()

    async def aclose(self) -> None:
        """Ends all visits and waits for them."""
        self._started = False
        for endpoint in tuple(self._tasks):
            self._end(endpoint)
        await asyncio.gather(*self._dropped, return_exceptions=True)

    def _hear(self, endpoint: LiveEndpoint, word: str) -> None:
        if word == "added" and self._started:
            self._begin(endpoint)
        elif word == "removed":
            self._end(endpoint)
            self._check_first()

    def _begin(self, endpoint: LiveEndpoint) -> None:
        self._unvisited.add(endpoint)
        self._bells[endpoint] = asyncio.Event()
        self._tasks[endpoint] = asyncio.create_task(self._go_round(endpoint), name=f"visits {endpoint.name}")

    def _end(self, endpoint: LiveEndpoint) -> None:
        task = self._tasks.pop(endpoint, None)
        self._bells.pop(endpoint, None)
        self._unvisited.discard(endpoint)
        if task is not None:
            self._dropped.add(task)
            task.add_done_callback(self._dropped.discard)
            task.cancel()

    async def _go_round(self, endpoint: LiveEndpoint) -> None:
        visit, bell = self._visits(endpoint), self._bells[endpoint]
        while True:
            bell.clear()
            try:
                pause = await visit()
            except Exception:
                logger.exception("a visit to endpoint %s failed", endpoint.name)
                pause = AFTER_A_BUG
            self._unvisited.discard(endpoint)
            self._check_first()
            timer = self._clock.call_later(pause * (0.9 + 0.2 * self._jitter()), bell.set)
            try:
                await bell.wait()
            finally:
                timer.cancel()

    def _check_first(self) -> None:
        if not self._unvisited:
            self._all_visited.set()

    def __repr__(self) -> str:
        return f"<Rounds endpoints={len(self._tasks)} unvisited={len(self._unvisited)}>"
