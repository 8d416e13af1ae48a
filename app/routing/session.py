"""Sessions: a conversation stays where its prefix is cached, as long as that endpoint is not overrun.

Weighted rendezvous hashing: every endpoint draws a number for the session and the highest wins. Nothing
is remembered, all gateways agree, and an endpoint that comes or goes moves only the sessions it wins or
had: about 1/n. The bound on load is that of consistent hashing with bounded loads (Mirrokni et al.).
"""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import TYPE_CHECKING

from app.routing.least_load import LeastLoad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.core.call import Call
    from app.core.ports import Endpoint

_64_BITS = (1 << 64) - 1
_NAMES_KEPT = 4096


class Session:
    """An endpoint is passed over while it has over `bound` times its share, and more than `slack` calls.

    Calls without a session go to the least loaded endpoint.
    """

    def __init__(self, bound: float = 1.25, slack: int = 4) -> None:
        self._bound = bound
        self._slack = slack
        self._otherwise = LeastLoad()
        self._seeds: dict[str, int] = {}

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        if call.session is None:
            return self._otherwise.pick(call, endpoints)
        key = _key(call.tenant.id, call.session)
        calls, weights = 0, 0.0
        for endpoint in endpoints:
            calls += endpoint.inflight
            weights += endpoint.weight
        share = self._bound * (calls + 1) / weights
        winner, highest = endpoints[0], -math.inf
        for endpoint in endpoints:
            weight = endpoint.weight
            if endpoint.inflight + 1 > max(self._slack, math.ceil(share * weight)):
                continue
            score = math.log(_draw(key, self._seed(endpoint.spec.name))) / weight
            if score > highest:
                winner, highest = endpoint, score
        return winner

    def eased(self, endpoint: Endpoint) -> None:
        self._otherwise.eased(endpoint)

    def _seed(self, name: str) -> int:
        seed = self._seeds.get(name)
        if seed is None:
            if len(self._seeds) >= _NAMES_KEPT:
                self._seeds.clear()
            seed = self._seeds[name] = _number(hashlib.sha256(name.encode()).digest())
        return seed


def _key(tenant: str, session: str) -> int:
    """Keyed by the tenant, so that equal session names of two tenants have nothing in common."""
    return _number(hmac.digest(tenant.encode(), session.encode("utf-8", "surrogatepass"), "sha256"))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def _draw(key: int, seed: int) -> float:
    """Uniform over (0, 1]; the mixing is splitmix64's."""
    x = key ^ seed
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _64_BITS
    return ((x ^ (x >> 31)) + 1) / (_64_BITS + 1)
