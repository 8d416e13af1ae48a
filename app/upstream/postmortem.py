"""Whether an endpoint is dead that broke off a call: one that takes connections afterwards is not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.upstream.fleet import Fleet

LOOKS = (0.0, 0.2, 0.4, 1.4)
"""Seconds before each look: a vLLM that is going down closes its port within 0.4 s, and is gone after 2 s."""

PATIENCE = 1.0
"""Seconds for a connection."""


class Postmortem:
    """Looks a few times in two seconds, and says so when the endpoint is there each time."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._looking: set[asyncio.Task[None]] = set()

    def __call__(self, endpoint: str, lives: Callable[[], object]) -> None:
        """Needs a running loop. An endpoint that left the fleet meanwhile is not asked about."""
        found = self._fleet.endpoints.get(endpoint)
        if found is None:
            return
        task = asyncio.create_task(self._look(found.spec.address, lives), name=f"postmortem of {endpoint}")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def aclose(self) -> None:
        """Looks no more."""
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    async def _look(self, address: tuple[str, int], lives: Callable[[], object]) -> None:
        for pause in LOOKS:
            if pause:
                await self._clock.sleep(pause)
            if not await _takes_connections(*address):
                return
        lives()


async def _takes_connections(host: str, port: int) -> bool:
    """Nothing is said on the connection."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, ValueError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
