"""Has the fleet do what operators want of it, wherever and whenever they said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.clock import Clock
    from app.store.changes import Changes
    from app.store.intents import Intent, Intents, Wish
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet

HEARD = 5.0
"""Seconds in which every gateway looks at the changes."""


class Wishes:
    """What the store holds is done at its first look, and within a second of each change after it.

    Make it before the changes are first looked at. A wish about an endpoint that is not there waits for it.
    """

    def __init__(self, intents: Intents, changes: Changes, fleet: Fleet, clock: Clock) -> None:
        self._intents = intents
        self._fleet = fleet
        self._clock = clock
        self._held: Mapping[str, Intent] = {}
        changes.subscribe("fleet", self.hear)
        fleet.subscribe(self._appeared)

    def about(self, endpoint: str) -> Intent | None:
        """What is wanted of it at the moment."""
        intent = self._held.get(endpoint)
        if intent is None or (intent.until is not None and intent.until <= self._clock.time()):
            return None
        return intent

    async def say(self, endpoint: str, wish: Wish, *, actor: str, reason: str, seconds: float | None) -> None:
        """In force here when it returns. Raises StorageUnavailable, and then nothing is changed."""
        await self._intents.say(endpoint, wish, actor=actor, reason=reason, seconds=seconds)

    async def take_back(self, endpoint: str, wish: Wish) -> None:
        """Leaves a wish of the other kind alone."""
        intent = self.about(endpoint)
        if intent is not None and intent.intent == wish:
            await self._intents.take_back(endpoint)

    async def restore(self, endpoint: str, *, actor: str, reason: str) -> None:
        """Take back an ejection, an operator's or a gateway's own; every gateway hears of it."""
        intent = self.about(endpoint)
        if intent is None or intent.intent == "restore":
            await self.say(endpoint, "restore", actor=actor, reason=reason, seconds=HEARD)
        else:
            await self.take_back(endpoint, "eject")

    async def hear(self) -> None:
        """Take what the store holds now."""
        wished = await self._intents.all()
        former, self._held = self._held, wished
        for name, intent in former.items():
            if wished.get(name) != intent:
                self._undo(intent)
        for name, intent in wished.items():
            if former.get(name) != intent:
                self._do(intent)

    def _appeared(self, endpoint: LiveEndpoint, word: str) -> None:
        intent = self.about(endpoint.name) if word == "added" else None
        if intent is not None:
            self._do(intent)

    def _do(self, intent: Intent) -> None:
        if intent.endpoint not in self._fleet.endpoints:
            return
        if intent.intent == "restore":
            self._fleet.restore(intent.endpoint)
            return
        act = self._fleet.drain if intent.intent == "drain" else self._fleet.eject
        seconds = None if intent.until is None else max(0.0, intent.until - self._clock.time())
        act(intent.endpoint, seconds, intent.reason)

    def _undo(self, intent: Intent) -> None:
        if intent.intent != "restore" and intent.endpoint in self._fleet.endpoints:
            act = self._fleet.resume if intent.intent == "drain" else self._fleet.restore
            act(intent.endpoint)
