"""Questions to the store that are asked together: however many come, one query is under way at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.tenant import Key
    from app.store.lookup import KeyLookup


@dataclass(slots=True)
class _Question:
    digests: set[str] = field(default_factory=set)
    answer: dict[str, Key] | StorageUnavailable | None = None


class Together:
    """Whoever asks while a query is under way is part of the next: a flood of bad keys is a few queries.

    An answer is never older than its question.
    """

    def __init__(self, lookup: KeyLookup) -> None:
        self._lookup = lookup
        self._next = _Question()
        self._turn = asyncio.Lock()

    async def find(self, digests: Sequence[str]) -> dict[str, Key]:
        """At least the keys of those digests that open something. Raises StorageUnavailable."""
        question = self._next
        question.digests.update(digests)
        async with self._turn:
            if question.answer is None:
                await self._ask(question)
        if isinstance(question.answer, StorageUnavailable):
            raise question.answer
        return question.answer or {}

    async def _ask(self, question: _Question) -> None:
        if self._next is question:
            self._next = _Question()
        try:
            question.answer = await self._lookup.find(sorted(question.digests))
        except StorageUnavailable as error:
            question.answer = error
