"""Several observers as one; none can keep the news from the others, or harm the call it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement
    from app.core.ports import Observer

logger = logging.getLogger(__name__)


class Observers:
    """Told in order. The first failure of each is logged, the later ones are only counted."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self.failures: dict[Observer, int] = {}

    def rejected(self, call: Call, error: GatewayError) -> None:
        for observer in self._observers:
            try:
                observer.rejected(call, error)
            except Exception as failure:
                self._failed(observer, failure)

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        for observer in self._observers:
            try:
                observer.attempted(call, endpoint, settlement)
            except Exception as failure:
                self._failed(observer, failure)

    def settled(self, call: Call, settlement: Settlement) -> None:
        for observer in self._observers:
            try:
                observer.settled(call, settlement)
            except Exception as failure:
                self._failed(observer, failure)

    def _failed(self, observer: Observer, failure: Exception) -> None:
        if observer not in self.failures:
            logger.error("an observer failed: %s", type(observer).__name__, exc_info=failure)
        self.failures[observer] = self.failures.get(observer, 0) + 1
