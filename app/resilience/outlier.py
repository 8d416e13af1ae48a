"""Outlier detection: who does clearly worse than its peers at the same work."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.resilience.conduct import Conduct
    from app.resilience.ejection import EjectionOptions

Offence = Literal["failures", "relapses", "failing", "slow"]
"""Failures in a row · a breaker that keeps opening after it had recovered · a failure rate above the
peers' · first events later than theirs.
"""

DEVIATIONS = 3.0
"""Standard deviations of a binomial that a failure rate must lie above that of the peers."""

LEAST_GAP = 0.1
"""And so much more than theirs in any case: over many calls the smallest difference is significant."""


def offence(
    own: Conduct, peers: Sequence[Conduct], options: EjectionOptions
) -> Literal["failing", "slow"] | None:
    """What an endpoint has to be set aside for, compared with others that do the same work.

    Envoy compares success rates with the deviation between hosts, which says little of two or three.
    Ours is the deviation that chance makes among so many calls, with the peers' rate taken as the true one.
    """
    if _fails_more(own, peers, options.minimum_calls):
        return "failing"
    if _is_slower(own, peers, options):
        return "slow"
    return None


def _fails_more(own: Conduct, peers: Sequence[Conduct], enough: int) -> bool:
    calls = sum(peer.calls for peer in peers)
    if own.calls < enough or calls < enough:
        return False
    usual = (sum(peer.failures for peer in peers) + 1) / (calls + 2)
    gap = own.failures / own.calls - usual
    return gap > max(LEAST_GAP, DEVIATIONS * math.sqrt(usual * (1 - usual) / own.calls))


def _is_slower(own: Conduct, peers: Sequence[Conduct], options: EjectionOptions) -> bool:
    if own.waits < options.minimum_calls:
        return False
    waits = [peer.wait for peer in peers if peer.waits >= options.minimum_calls]
    return bool(waits) and own.wait > max(options.slow_floor, options.slow_factor * median(waits))
