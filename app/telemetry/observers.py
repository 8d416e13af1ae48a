"""Several observers as one; none can keep the news from the others, or harm the call it is about.

The line only notes what happened: the observers hear of it a moment later, many calls at a time. They then
run warm, which costs the calls half of what telling everybody in the midst of each one does.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.core.clock import Clock, Timer

    Ears = tuple[Callable[..., None], ...]

DELAY = 0.05
"""Seconds that news wait at most."""

_MANY = 64

logger = logging.getLogger(__name__)


class Observers:
    """An Observer: everybody hears everything in the order it happened.

    Who needs to know what is known now calls `flush`. An observer need not have all of the methods; those it
    lacks cost nothing. `closed(call)` is heard after the last byte. The first failure of each observer is
    logged, the later ones are only counted.
    """

    def __init__(self, observers: Iterable[object], clock: Clock) -> None:
        everybody = list(observers)
        self.rejected = partial(self._note, _ears(everybody, "rejected"))
        self.attempted = partial(self._note, _ears(everybody, "attempted"))
        self.resumed = partial(self._note, _ears(everybody, "resumed"))
        self.settled = partial(self._note, _ears(everybody, "settled"))
        self.closed = partial(self._note, _ears(everybody, "closed"))
        self._clock = clock
        self._news: list[tuple[Ears, tuple[Any, ...]]] = []
        self._timer: Timer | None = None
        self.failures: dict[object, int] = {}

    def flush(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        news, self._news = self._news, []
        for ears, happening in news:
            for listen in ears:
                try:
                    listen(*happening)
                except Exception as failure:
                    self._failed(listen, failure)

    def _note(self, ears: Ears, *happening: Any) -> None:
        self._news.append((ears, happening))
        if self._timer is None:
            self._timer = self._clock.call_later(DELAY, self.flush)
        elif len(self._news) >= _MANY:
            self.flush()

    def _failed(self, listen: Callable[..., None], failure: Exception) -> None:
        observer = getattr(listen, "__self__", listen)
        if observer not in self.failures:
            logger.error("an observer failed: %s", type(observer).__name__, exc_info=failure)
        self.failures[observer] = self.failures.get(observer, 0) + 1


def _ears(observers: Iterable[object], event: str) -> Ears:
    """The methods of those that have one for it."""
    return tuple(getattr(each, event) for each in observers if hasattr(each, event))
