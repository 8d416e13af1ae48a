"""A fuse: a body that was in flight at two deaths of endpoints is sent to no third one.

Some requests end the engine that reads them. Every retry of such a query of death, by us or by its caller,
costs one endpoint more. What was in flight at a death is suspected; only what was there at two, one after the
other, is refused: when a fleet goes down at once, nobody's request has done it.
"""

from __future__ import annotations

import logging
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import QueryOfDeath
from app.core.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock

DEATHS = 2
"""Deaths at which a body may have been in flight before it passes for their cause."""

ONE_DEATH = 10.0
"""Seconds in which connections of one endpoint break by the same death; none is back sooner."""

logger = logging.getLogger(__name__)


class FuseOptions(BaseModel):
    """`refuse_for`: seconds from the last death on; `max_suspects`: bodies remembered, the oldest go first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    refuse_for: Seconds = Field(default=600.0, gt=0)
    max_suspects: int = Field(default=1000, ge=1)


class _Suspect:
    """By the number of each death: when the attempt had begun that was there, and when it broke off."""

    __slots__ = ("deaths", "until")

    def __init__(self) -> None:
        self.deaths: dict[int, tuple[float, float]] = {}
        self.until = 0.0

    @property
    def guilt(self) -> int:
        """Deaths one after the other: the later attempt began when the former had ended."""
        count, ended = 0, float("-inf")
        for began, at in sorted(self.deaths.values(), key=lambda times: times[1]):
            if began >= ended:
                count, ended = count + 1, at
        return count


class Fuse:
    """Remembers suspects by what they ask of which model, whoever asks: an engine dies of it all the same.

    `armed` is False while nobody is suspected, and nothing else of this need be touched then. A body that is
    answered in full is cleared: it is what many ask for and happened to be there.
    """

    def __init__(
        self,
        options: Callable[[str, str], FuseOptions],
        clock: Clock,
        examine: Callable[[str, Callable[[], object]], object],
    ) -> None:
        """`options` are looked up by model and endpoint at each death. `examine` gets the name of an endpoint
        that broke off, and calls back if it lives after all.
        """
        self.armed = False
        self._examine = examine
        self._options = options
        self._clock = clock
        self._suspects: dict[bytes, _Suspect] = {}
        self._last: dict[str, tuple[int, float]] = {}
        self._certain: set[int] = set()
        self._deaths = 0

    def check(self, call: Call) -> None:
        """Raises QueryOfDeath."""
        self._forget()
        suspect = self._suspects.get(_fingerprint(call)) if self.armed else None
        if suspect is not None and suspect.guilt >= DEATHS:
            raise QueryOfDeath

    def seal(self, call: Call) -> None:
        """Nobody will send its body again: from here on it is known by its fingerprint."""
        call.fingerprint = _fingerprint(call)
        call.body = {}

    def died(self, call: Call, endpoint: str, since: float, *, certain: bool = False) -> None:
        """The endpoint broke off with the call in flight, which it had since then (monotonic): it counts as
        dead unless it is found alive. `certain`: it said so itself.
        """
        options = self._options(call.target, endpoint)
        if not options.enabled:
            return
        self._forget()
        now = self._clock.monotonic()
        death, first = self._death(endpoint, now)
        fingerprint = _fingerprint(call)
        suspect = self._suspects.pop(fingerprint, None) or _Suspect()
        before = suspect.guilt
        suspect.deaths.setdefault(death, (since, now))
        if before < DEATHS <= suspect.guilt:
            logger.error(
                "call %s was in flight when %s died, the second death of its kind: refused for %g s, if it was one",
                call.id,
                endpoint,
                options.refuse_for,
            )
        suspect.until = now + options.refuse_for
        self._suspects[fingerprint] = suspect
        while len(self._suspects) > options.max_suspects:
            del self._suspects[next(iter(self._suspects))]
        self.armed = True
        if certain:
            self._certain.add(death)
        elif first:
            self._examine(endpoint, partial(self._lives, endpoint, death))

    def clear(self, call: Call) -> None:
        """The call was answered in full."""
        self._suspects.pop(_fingerprint(call), None)
        self.armed = bool(self._suspects)

    def _death(self, endpoint: str, now: float) -> tuple[int, bool]:
        """Its number, and whether it is new: all that breaks within a few seconds at one endpoint breaks of one
        death.
        """
        number, last = self._last.get(endpoint, (0, 0.0))
        first = not number or now - last > ONE_DEATH
        if first:
            self._deaths = number = self._deaths + 1
        self._last[endpoint] = number, now
        return number, first

    def _lives(self, endpoint: str, death: int) -> None:
        """It was no death: a proxy, a network or the endpoint itself closed that connection."""
        if death in self._certain:
            return
        if self._last.get(endpoint, (0, 0.0))[0] == death:
            del self._last[endpoint]
        for fingerprint, suspect in list(self._suspects.items()):
            if suspect.deaths.pop(death, None) and not suspect.deaths:
                del self._suspects[fingerprint]
        self.armed = bool(self._suspects)

    def _forget(self) -> None:
        """Drop those whose time is over; with the last of them, the deaths too."""
        now = self._clock.monotonic()
        while self._suspects:
            oldest = next(iter(self._suspects))
            if self._suspects[oldest].until > now:
                return
            del self._suspects[oldest]
        self.armed = False
        self._last.clear()
        self._certain.clear()

    def __repr__(self) -> str:
        blown = sum(suspect.guilt >= DEATHS for suspect in self._suspects.values())
        return f"<Fuse suspects={len(self._suspects)} refused={blown}>"


def _fingerprint(call: Call) -> bytes:
    """Of the model and all else the body says; a call under another name for the model is the same."""
    if call.fingerprint is not None:
        return call.fingerprint
    asked = msgspec.json.encode((call.asked or call.body) | {"model": call.target}, order="deterministic")
    return blake2b(asked, digest_size=16).digest()
