"""Whose key a secret is: answered from memory, learnt by one query, corrected at every change."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from app.core.errors import InvalidKey, StorageUnavailable
from app.core.units import Seconds
from app.store.pepper import sha256
from app.tenancy.together import Together

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.core.tenant import Key
    from app.store.changes import Changes
    from app.store.lookup import KeyLookup
    from app.store.pepper import Pepper

logger = logging.getLogger(__name__)

# An answer that a refresh overtook is asked again; under a storm of changes it is used, but not kept.
_TRIES = 3


class KeysOptions(BaseModel, frozen=True, extra="forbid"):
    """`cache_grace`: how long known keys are believed while the store is out of reach.

    `unknown` and `unknown_for` bound the memory of secrets that opened nothing.
    """

    cache_grace: Seconds = 3600.0
    unknown: int = Field(default=10_000, gt=0)
    unknown_for: Seconds = 5.0


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key
    digest: str
    expires_at: float


class Keys:
    """Keys are held once used, by the SHA-256 of their secret; a change re-reads those of its tenant.

    Every refusal is the same InvalidKey. While the store is out of reach, known keys live on for the
    grace; for others nobody can tell.
    """

    def __init__(
        self,
        lookup: KeyLookup,
        changes: Changes,
        pepper: Pepper,
        clock: Clock,
        options: KeysOptions | None = None,
    ) -> None:
        self._lookup = lookup
        self._together = Together(lookup)
        self._changes = changes
        self._pepper = pepper
        self._clock = clock
        self._options = options or KeysOptions()
        self._known: dict[bytes, _Known] = {}
        self._unknown: dict[bytes, float] = {}
        self._asked: dict[bytes, asyncio.Task[Key]] = {}
        self._version = 0
        self._refreshes = 0
        self._failing = False
        changes.subscribe("tenants", self.refresh)

    def known(self, secret: str) -> Key | None:
        """Two hash lookups and no query: None also for what is too old to be believed."""
        known = self._known.get(sha256(secret))
        if known is None or self._clock.time() >= known.expires_at:
            return None
        unconfirmed = self._clock.monotonic() - self._changes.confirmed
        return known.key if unconfirmed <= self._options.cache_grace else None

    async def find(self, secret: str) -> Key:
        """Concurrent finds of one secret share one query."""
        key = self.known(secret)
        if key is not None:
            return key
        digest = sha256(secret)
        forgotten_at = self._unknown.get(digest)
        if forgotten_at is not None and self._clock.monotonic() < forgotten_at:
            raise InvalidKey
        asked = self._asked.get(digest)
        if asked is None:
            asked = self._asked[digest] = asyncio.create_task(self._ask(digest), name="key lookup")
            asked.add_done_callback(lambda task: self._answered(digest, task))
        return await asyncio.shield(asked)

    async def refresh(self) -> None:
        """Re-read what is held of the tenants that changed since the last refresh."""
        changed = await self._lookup.changed(self._version)
        self._refreshes += 1
        held = {
            secret: known for secret, known in self._known.items() if known.key.tenant.id in changed.tenants
        }
        found = await self._lookup.find([known.digest for known in held.values()]) if held else {}
        self._unknown.clear()
        for secret, known in held.items():
            key = found.get(known.digest)
            if key is None:
                self._known.pop(secret, None)
            else:
                self._hold(secret, known.digest, key)
        self._version = changed.version

    async def aclose(self) -> None:
        """Wait for the queries that are under way."""
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Keys known={len(self._known)} unknown={len(self._unknown)} asked={len(self._asked)}>"

    async def _ask(self, secret: bytes) -> Key:
        digest, previous = self._pepper.digest(secret), self._pepper.previous_digest(secret)
        found, certain = await self._read([digest] if previous is None else [digest, previous])
        key = found.get(digest)
        if key is None and previous in found:
            key = found[previous]
            await self._rehash(previous, digest)
            certain = False
        if key is None or (key.expires_at is not None and key.expires_at <= self._clock.time()):
            if certain:
                self._remember_unknown(secret)
            raise InvalidKey
        if certain:
            self._hold(secret, digest, key)
        return key

    async def _read(self, digests: list[str]) -> tuple[dict[str, Key], bool]:
        """What the store says, and whether that may be kept: no refresh began since it was asked."""
        found: dict[str, Key] = {}
        for _ in range(_TRIES):
            refreshes = self._refreshes
            found = await self._together.find(digests)
            if refreshes == self._refreshes:
                return found, True
        return found, False

    async def _rehash(self, previous: str, digest: str) -> None:
        try:
            await self._lookup.rehash(previous, digest)
        except StorageUnavailable:
            return

    def _hold(self, secret: bytes, digest: str, key: Key) -> None:
        expires_at = float("inf") if key.expires_at is None else key.expires_at
        self._known[secret] = _Known(key, digest, expires_at)

    def _remember_unknown(self, secret: bytes) -> None:
        while len(self._unknown) >= self._options.unknown:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[secret] = self._clock.monotonic() + self._options.unknown_for

    def _answered(self, secret: bytes, task: asyncio.Task[Key]) -> None:
        del self._asked[secret]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, StorageUnavailable) == self._failing:
            return
        self._failing = not self._failing
        if self._failing and error is not None:
            logger.warning("keys cannot be looked up: %r", error.__cause__ or error)
        else:
            logger.warning("keys are looked up again")
