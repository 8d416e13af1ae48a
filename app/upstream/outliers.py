"""Sets endpoints aside that do clearly worse than their peers, and lets them back little by little."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from app.resilience.outlier import offence
from app.upstream.pool import AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.resilience.outlier import Offence
    from app.upstream.census import Census
    from app.upstream.endpoint import LiveEndpoint

SUSPECTED = "suspected"
"""The reason of those that are being examined, and may be well."""

logger = logging.getLogger(__name__)


class Outliers:
    """Peers serve one of its models in the same tier. Who has none, or is out already, is left alone.

    What it ejects may still help out when the others are full: an ejection costs no capacity.
    """

    def __init__(self, census: Census, clock: Clock, tell: Callable[[LiveEndpoint, str], None]) -> None:
        """`tell` hears `ejected`, and `readmitted` when the time is over."""
        self._census = census
        self._clock = clock
        self._tell = tell

    def look(self, endpoint: LiveEndpoint, seen: Offence | None) -> None:
        """At an endpoint with an offence, or with None to compare it."""
        options = endpoint.resilience.ejection
        if not options.enabled or self._census.ejection_of(endpoint.name) is not None:
            return
        if seen != "relapses" and endpoint.breaker.state != "closed":
            return
        groups = self._census.peers(endpoint)
        if not groups:
            return
        if seen is None:
            found = (offence(endpoint.conduct, [p.conduct for p in peers], options) for peers in groups)
            seen = next((each for each in found if each is not None), None)
        if seen is not None:
            self._eject(endpoint, seen)

    def hear(self, endpoint: LiveEndpoint, word: str) -> None:
        """One that is suspected gets no new calls while it is examined, as far as others take them."""
        out = self._census.ejection_of(endpoint.name)
        options = endpoint.resilience.ejection
        if word == "suspected" and out is None and options.enabled and self._census.peers(endpoint):
            until = self._clock.monotonic() + options.base_time
            self._census.eject(endpoint.name, until, SUSPECTED, lenient=True)
        elif (word == "cleared" and out == SUSPECTED) or word == "removed":
            self._census.acquit(endpoint.name)

    def readmit(self, endpoint: LiveEndpoint) -> None:
        """An operator restores it: nothing of before counts, and all of its weight does."""
        endpoint.penalty.forget()
        endpoint.conduct.forgive()
        if self._census.ejection_of(endpoint.name) is not None:
            self._census.restore(endpoint.name)
            self._tell(endpoint, "readmitted")

    def _eject(self, endpoint: LiveEndpoint, why: Offence) -> None:
        now = self._clock.monotonic()
        seconds = endpoint.penalty.next(now)
        logger.warning(
            "endpoint %s is set aside for %.0f s: %s, %r", endpoint.name, seconds, why, endpoint.conduct
        )
        endpoint.conduct.clear()
        self._census.eject(endpoint.name, now + seconds, why, lenient=True)
        self._clock.call_later(seconds + AFTER, partial(self._end, endpoint))
        self._tell(endpoint, "ejected")

    def _end(self, endpoint: LiveEndpoint) -> None:
        if not endpoint.standing.leaving and self._census.ejection_of(endpoint.name) is None:
            endpoint.recover()
            self._tell(endpoint, "readmitted")
            self._census.restore(endpoint.name)
