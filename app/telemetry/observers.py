"""Several observers as one; none can keep the news from the others, or harm the call it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement

logger = logging.getLogger(__name__)


class Observers:
    """Told in order. The first failure of each is logged, the later ones are only counted.

    An observer need not have all of the methods; those it lacks cost nothing.
    """

    def __init__(self, observers: Iterable[object]) -> None:
        heard = tuple(observers)
        self._rejected = _listeners(heard, "rejected")
        self._attempted = _listeners(heard, "attempted")
        self._settled = _listeners(heard, "settled")
        self.failures: dict[object, int] = {}

    def rejected(self, call: Call, error: GatewayError) -> None:
        for listen in self._rejected:
            try:
                listen(call, error)
            except Exception as failure:
                self._failed(listen, failure)

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        for listen in self._attempted:
            try:
                listen(call, endpoint, settlement)
            except Exception as failure:
                self._failed(listen, failure)

    def settled(self, call: Call, settlement: Settlement) -> None:
        for listen in self._settled:
            try:
                listen(call, settlement)
            except Exception as failure:
                self._failed(listen, failure)

    def _failed(self, listen: Callable[..., None], failure: Exception) -> None:
        observer = getattr(listen, "__self__", listen)
        if observer not in self.failures:
            logger.error("an observer failed: %s", type(observer).__name__, exc_info=failure)
        self.failures[observer] = self.failures.get(observer, 0) + 1


def _listeners(observers: Iterable[object], event: str) -> tuple[Callable[..., None], ...]:
    return tuple(getattr(observer, event) for observer in observers if hasattr(observer, event))
