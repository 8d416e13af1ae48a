"""How long an answer is likely to be: of each tenant and model the 95th percentile of those before."""

from __future__ import annotations

from array import array
from bisect import bisect_left

_SHARE = 0.05
_FORGETS = 0.99
_HEAVIEST = 1e6
# Four steps an octave, whole tokens: what is expected is too high by a fifth at most, and never too low.
_EDGES = tuple(sorted({int(2 ** (step / 4)) for step in range(97)}))
_LAST = len(_EDGES) - 1


class Percentile:
    """The smallest edge that at most 5 % of the answers exceed; one told in constant time and space.

    A histogram with logarithmic buckets (as DDSketch: Masson, Rim, Lee, VLDB 2019) under forward decay
    (Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009): the newest weighs most, a hundred are remembered.
    The first guess stands as one answer among them, so that few short ones do not make it small.
    """

    __slots__ = ("_above", "_at", "_total", "_weight", "_weights")

    def __init__(self, guess: int) -> None:
        self._weights = array("d", bytes(8 * len(_EDGES)))
        self._at = bisect_left(_EDGES, guess, 0, _LAST)
        self._weights[self._at] = self._weight = self._total = 1.0
        self._above = 0.0

    @property
    def tokens(self) -> int:
        return _EDGES[self._at]

    def learn(self, tokens: int) -> None:
        at = bisect_left(_EDGES, tokens, 0, _LAST)
        self._weight = weight = self._weight / _FORGETS
        self._weights[at] += weight
        self._total += weight
        if at > self._at:
            self._above += weight
        self._follow()
        if weight > _HEAVIEST:
            self._lighten(weight)

    def _follow(self) -> None:
        """Move to where no more than the share lies above; `_above` is the weight there."""
        weights, most = self._weights, self._total * _SHARE
        while self._above > most and self._at < _LAST:
            self._at += 1
            self._above -= weights[self._at]
        while self._at and self._above + weights[self._at] <= most:
            self._above += weights[self._at]
            self._at -= 1

    def _lighten(self, weight: float) -> None:
        """The same proportions in small numbers; rare."""
        self._weights = array("d", (each / weight for each in self._weights))
        self._weight = 1.0
        self._total = sum(self._weights)
        self._above = sum(self._weights[self._at + 1 :])


class Answers:
    """Remembers the `most` tenants and models that answered last."""

    def __init__(self, guess: int, most: int) -> None:
        self._guess = guess
        self._most = most
        self._learnt: dict[tuple[str, str], Percentile] = {}

    def expected(self, tenant: str, model: str) -> int:
        """Tokens of one choice; the guess while nothing is known."""
        known = self._learnt.get((tenant, model))
        return self._guess if known is None else known.tokens

    def learn(self, tenant: str, model: str, tokens: int) -> None:
        name = (tenant, model)
        known = self._learnt.pop(name, None)
        if known is None:
            known = Percentile(self._guess)
            if len(self._learnt) >= self._most:
                del self._learnt[next(iter(self._learnt))]
        self._learnt[name] = known
        known.learn(tokens)

    def __len__(self) -> int:
        return len(self._learnt)

    def __repr__(self) -> str:
        return f"<Answers known={len(self._learnt)}>"
