"""Label values from a bounded set, whatever callers send: the rest is `other`."""

from __future__ import annotations

OTHER = "other"


class BoundedLabel:
    """The first `limit` different values are kept."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(value)
        return value
