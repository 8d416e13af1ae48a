"""Several observers as one; none can keep the news from the others, or harm the call it is about.

The line only notes what happened: the observers hear of it a moment later, many calls at a time. Each then
runs warm, which costs the calls half of what telling everybody in the midst of each one does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.core.call import Call
    from app.core.clock import Clock, Timer
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement

DELAY = 0.05
"""Seconds that news wait at most."""

_MANY = 64
_EVENTS = ("rejected", "attempted", "settled", "closed", "resumed")
_REJECTED, _ATTEMPTED, _SETTLED, _CLOSED, _RESUMED = range(5)

logger = logging.getLogger(__name__)


class Observers:
    """Everybody hears everything in the order it happened. Who needs to know what is known now calls `flush`.

    An observer need not have all of the methods; those it lacks cost nothing. `closed(call)` is heard after
    the last byte. The first failure of each observer is logged, the later ones are only counted.
    """

    def __init__(self, observers: Iterable[object], clock: Clock) -> None:
        self._ears = [tuple(getattr(each, event, None) for event in _EVENTS) for each in observers]
        self._clock = clock
        self._news: list[tuple[int, tuple[Any, ...]]] = []
        self._timer: Timer | None = None
        self.failures: dict[object, int] = {}

    def rejected(self, call: Call, error: GatewayError) -> None:
        self._note(_REJECTED, (call, error))

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        self._note(_ATTEMPTED, (call, endpoint, settlement))

    def resumed(self, call: Call, outcome: str) -> None:
        self._note(_RESUMED, (call, outcome))

    def settled(self, call: Call, settlement: Settlement) -> None:
        self._note(_SETTLED, (call, settlement))

    def closed(self, call: Call) -> None:
        self._note(_CLOSED, (call,))

    def flush(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        news, self._news = self._news, []
        for ears in self._ears:
            for event, happening in news:
                listen = ears[event]
                if listen is not None:
                    try:
                        listen(*happening)
                    except Exception as failure:
                        self._failed(listen, failure)

    def _note(self, event: int, happening: tuple[Any, ...]) -> None:
        self._news.append((event, happening))
        if self._timer is None:
            self._timer = self._clock.call_later(DELAY, self.flush)
        elif len(self._news) >= _MANY:
            self.flush()

    def _failed(self, listen: Callable[..., None], failure: Exception) -> None:
        observer = getattr(listen, "__self__", listen)
        if observer not in self.failures:
            logger.error("an observer failed: %s", type(observer).__name__, exc_info=failure)
        self.failures[observer] = self.failures.get(observer, 0) + 1
