"""Who operates: bearer tokens with roles, compared in constant time, with a bound on wrong ones."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from app.core.errors import Forbidden, InvalidKey, NotFound, RateLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.clock import Clock

Role = Literal["viewer", "operator", "admin"]

RANKS: dict[Role, int] = {"viewer": 0, "operator": 1, "admin": 2}
WRONG_PER_MINUTE = 20
_MINUTE = 60.0
_PEERS = 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """One operator's credential, known by its digest only."""

    name: str
    role: Role
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, role: Role, secret: str) -> Token:
        return cls(name, role, _digest(secret))


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever holds a token; `origin` is the address the request came from."""

    name: str
    role: Role
    origin: str


class Access:
    """Without any token the admin API does not exist.

    A right token always passes, so that nobody can lock an operator out; after twenty wrong ones from
    an address within a minute, further wrong ones hear 429.
    """

    def __init__(self, tokens: Callable[[], Sequence[Token]], clock: Clock) -> None:
        """`tokens` are asked for at each request: a reload may change them."""
        self._tokens = tokens
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, authorization: str, origin: str, needed: Role) -> Operator:
        """Raises NotFound, InvalidKey, RateLimitExceeded or Forbidden."""
        tokens = self._tokens()
        if not tokens:
            raise NotFound
        scheme, _, secret = authorization.partition(" ")
        digest = _digest(secret.strip())
        held = [token for token in tokens if hmac.compare_digest(token.digest, digest)]
        if scheme.lower() != "bearer" or not held:
            raise self._refused(origin)
        token = held[0]
        if RANKS[token.role] < RANKS[needed]:
            raise Forbidden(f"This needs the role {needed}; the token {token.name!r} is a {token.role}'s.")
        return Operator(token.name, token.role, origin)

    def _refused(self, origin: str) -> InvalidKey | RateLimitExceeded:
        now = self._clock.monotonic()
        wrong = self._wrong.setdefault(origin, deque(maxlen=WRONG_PER_MINUTE))
        self._wrong.move_to_end(origin)
        if len(self._wrong) > _PEERS:
            self._wrong.popitem(last=False)
        if len(wrong) == WRONG_PER_MINUTE and now - wrong[0] < _MINUTE:
            return RateLimitExceeded(
                "Too many wrong admin tokens from this address.", retry_after=wrong[0] + _MINUTE - now
            )
        wrong.append(now)
        logger.warning("a wrong admin token from %s", origin)
        return InvalidKey("The admin token is missing or not valid.")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
