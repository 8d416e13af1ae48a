"""How fast models answer, learnt from what they finished; for calls that end before any usage was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.outcome import Outcome

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.outcome import Settlement

WEIGHT = 0.1
"""Of the newest call."""


class Speed(Struct, frozen=True, gc=False):
    """Seconds to the first token, tokens a second from then on, and how many of them an answer has."""

    first: float
    rate: float
    tokens: float

    def towards(self, newest: Speed) -> Speed:
        return Speed(
            self.first + WEIGHT * (newest.first - self.first),
            self.rate + WEIGHT * (newest.rate - self.rate),
            self.tokens + WEIGHT * (newest.tokens - self.tokens),
        )


class Pace:
    """An Observer. Models are as many as the fleet serves; JSON answers do not show their first token.

    What counts is the attempt that succeeded: no endpoint generates while a call waits for a place.
    """

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, bool], Speed] = {}

    def settled(self, call: Call, settlement: Settlement) -> None:
        if settlement.outcome is not Outcome.SUCCESS or not settlement.usage.completion:
            return
        began = call.attempts[-1].started if call.attempts else 0.0
        first = (settlement.first_byte or 0.0) - began if call.streams else 0.0
        if first < 0:  # a stream that was carried on: its first byte came of an earlier attempt
            return
        generating = settlement.elapsed - began - first
        if generating <= 0:
            return
        name = (call.target, call.streams)
        completion = settlement.usage.completion
        newest = Speed(first, completion / generating, completion)
        known = self._speeds.get(name)
        self._speeds[name] = newest if known is None else known.towards(newest)

    def generated(self, call: Call, elapsed: float) -> int:
        """Completion tokens that an engine has probably made after `elapsed` seconds; 0 while unknown."""
        speed = self._speed(call)
        if speed is None:
            return 0
        tokens = int(max(0.0, elapsed - speed.first) * speed.rate)
        return tokens if call.completion_limit is None else min(tokens, call.completion_limit)

    def takes(self, call: Call) -> float:
        """Seconds from an endpoint's start on the call to its end, probably; 0 while unknown."""
        speed = self._speed(call)
        if speed is None:
            return 0.0
        limit = call.completion_limit
        return speed.first + (speed.tokens if limit is None else min(limit, speed.tokens)) / speed.rate

    def _speed(self, call: Call) -> Speed | None:
        target = call.target
        return self._speeds.get((target, call.streams)) or self._speeds.get((target, not call.streams))
