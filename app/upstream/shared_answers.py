"""One visit to an endpoint for all who have the same question: workers probe and scrape as one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from app.upstream.control import UnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.upstream.control import Control

    Key = tuple[str, str, bytes | None]

FRESH = 0.5
"""Seconds for which an answer does for others."""


@dataclass(slots=True)
class _Asked:
    spec: EndpointSpec
    answer: asyncio.Task[tuple[int, bytes]]
    heard_by: set[Hashable] = field(default_factory=set)


class SharedAnswers:
    """Nobody gets the same answer twice, so that probes in a row are probes, not echoes of one.

    `told` hears of each answer to a GET, with the url, the path and who has it already: the others may ask
    for it at once, and know of a death as soon as the first of them.
    """

    def __init__(
        self, control: Control, clock: Clock, told: Callable[[str, str, Collection[Hashable]], object]
    ) -> None:
        self._control = control
        self._clock = clock
        self._told = told
        self._asked: dict[Key, _Asked] = {}

    async def ask(
        self, asker: Hashable, spec: EndpointSpec, path: str, timeout: float, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """As Control has it. Raises UnansweredError."""
        key = (spec.url, path, body)
        asked = self._asked.get(key)
        if asked is None or asked.spec != spec or asker in asked.heard_by:
            going = self._control.ask(spec, path, timeout, body=body)
            asked = self._asked[key] = _Asked(spec, asyncio.create_task(going, name=f"asking {spec.name}"))
            asked.answer.add_done_callback(partial(self._answered, key, asked))
        asked.heard_by.add(asker)
        return await asyncio.shield(asked.answer)

    async def aclose(self) -> None:
        """Ends every visit that is under way."""
        tasks = [asked.answer for asked in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._control.aclose()

    def _answered(self, key: Key, asked: _Asked, answer: asyncio.Task[Any]) -> None:
        """A completion is nobody else's afterwards: it proves something of the moment it was asked at."""
        if answer.cancelled() or (answer.exception() and not isinstance(answer.exception(), UnansweredError)):
            self._forget(key, asked)
            return
        url, path, body = key
        if body is not None:
            self._forget(key, asked)
            return
        self._clock.call_later(FRESH, partial(self._forget, key, asked))
        self._told(url, path, frozenset(asked.heard_by))

    def _forget(self, key: Key, asked: _Asked) -> None:
        if self._asked.get(key) is asked:
            del self._asked[key]

    def __repr__(self) -> str:
        return f"<SharedAnswers {len(self._asked)}>"
