"""What a new call must not be let in for: a loop that runs late, and bodies that would not fit into memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, Field

from app.core.errors import Overloaded
from app.core.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call


class SheddingOptions(BaseModel, frozen=True, extra="forbid"):
    """`loop_lag`: how late the event loop may lastingly run before new calls are refused.

    `batch_at`: percent of this and of the bytes at which those of a priority above 0 are refused already.
    """

    loop_lag: Seconds = Field(default=0.2, gt=0, validate_default=True)
    batch_at: int = Field(default=50, ge=1, le=100)


class Lag(Protocol):
    """How late the event loop has been running for a while, in seconds."""

    lasting: float


class Shedding:
    """Asked before the body of a call is read. `held` is in bytes, of all calls under way.

    One body always fits, so that a limit below the largest body refuses nobody for ever.
    """

    def __init__(
        self, options: SheddingOptions, most_bytes: int, lag: Lag, dice: Callable[[], float] = random.random
    ) -> None:
        self._lag = lag
        self._dice = dice
        self.held = 0
        self.set(options, most_bytes)

    def set(self, options: SheddingOptions, most_bytes: int) -> None:
        """Go by these from now on."""
        share = options.batch_at / 100
        self._most_lag, self._batch_lag = options.loop_lag, options.loop_lag * share
        self._most_bytes, self._batch_bytes = most_bytes, int(most_bytes * share)

    def admit(self, priority: int) -> None:
        """Raises Overloaded for a share of the calls when the loop runs late: all but limit / lag of them.

        Never for all: what makes the loop late may be others on the machine, or the refusals.
        """
        lag = self._lag.lasting
        if lag <= self._batch_lag:
            return
        limit = self._batch_lag if priority > 0 else self._most_lag
        if self._dice() * lag >= limit:
            raise Overloaded("The gateway is busy; try again later.", reason="loop_lag", retry_after=1 + lag)

    def hold(self, call: Call, size: int) -> None:
        """Count so many bytes more of its body. Raises Overloaded when they would be too many."""
        most = self._most_bytes if call.key.tenant.priority <= 0 else self._batch_bytes
        if self.held + size > most and self.held > call.body_size:
            raise Overloaded("The gateway is busy; try again later.", reason="memory")
        self.held += size
        call.body_size += size

    def release(self, call: Call) -> None:
        """The call has ended, however far it came, or its body is not kept any more; idempotent."""
        self.held -= call.body_size
        call.body_size = 0

    def __repr__(self) -> str:
        return f"<Shedding held={self.held}/{self._most_bytes} lag={self._lag.lasting:.3f}>"
