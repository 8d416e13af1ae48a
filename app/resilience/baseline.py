"""What a first event takes when nothing waits, by the length of the prompt."""

from __future__ import annotations

import math

_REACH = 4
"""A prompt says something of others up to so many times its length: beyond, attention is not linear."""


class Baseline:
    """The quickest seen, one of each half octave of lengths. Only `forget` makes it slower.

    A longer prompt takes longer, and not more than in proportion: so each of them bounds the others.
    """

    __slots__ = ("_quickest",)

    def __init__(self) -> None:
        self._quickest: dict[int, tuple[int, float]] = {}

    def expected(self, tokens: int) -> float | None:
        """Seconds; None while nothing is known of such a length."""
        known = [
            seconds * max(1.0, tokens / length)
            for length, seconds in self._quickest.values()
            if tokens <= _REACH * length
        ]
        return min(known, default=None)

    def learn(self, tokens: int, seconds: float) -> float:
        """What is expected of this one, now that it has come."""
        expected = self.expected(tokens)
        if expected is not None and seconds >= expected:
            return expected
        self._quickest[round(2 * math.log2(tokens))] = tokens, seconds
        return seconds

    def forget(self) -> None:
        self._quickest.clear()

    def __repr__(self) -> str:
        shown = {length: round(seconds, 4) for length, seconds in sorted(self._quickest.values())}
        return f"<Baseline {shown}>"
