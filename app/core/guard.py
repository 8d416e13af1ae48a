"""Guards admit a call or raise, and are told exactly once how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.core.call import Call
    from app.core.outcome import Settlement

    Release = Callable[[Settlement], None]

logger = logging.getLogger(__name__)


class Guard(Protocol):
    """Stands before a call; may wait for something outside this process."""

    async def admit(self, call: Call) -> Release:
        """Raises a GatewayError to refuse; a refusal takes nothing."""
        ...


class Permit(Protocol):
    """What a gate gave; told of the first sign of an answer, and once of the end."""

    def answered(self) -> None:
        """The first event of the answer is in; at most once."""
        ...

    def __call__(self, settlement: Settlement) -> None: ...


class Gate(Protocol):
    """A guard of an endpoint. Synchronous, so that a freed place passes to a waiter without a gap."""

    @property
    def ready(self) -> bool:
        """Whether `admit` would admit now."""
        ...

    def admit(self, call: Call) -> Permit:
        """Raises a GatewayError to refuse; a refusal takes nothing."""
        ...


class Lease(Struct, eq=False):
    """What a call holds. Settled exactly once, gates before guards, last taken first, and always to the end."""

    _releases: list[Release] = []
    _permits: list[Permit] = []
    settled: bool = False

    async def take(self, call: Call, guards: Iterable[Guard]) -> None:
        """Pass the guards in order; the caller settles what was taken when one refuses."""
        for guard in guards:
            self._releases.append(await guard.admit(call))

    def enter(self, call: Call, gates: Iterable[Gate]) -> None:
        """Pass the gates in order; the caller settles what was taken when one refuses."""
        permits = self._permits
        for gate in gates:
            permits.append(gate.admit(call))

    def answered(self) -> None:
        """Tell the gates passed that the endpoint began to answer."""
        for permit in self._permits:
            permit.answered()

    def settle(self, settlement: Settlement) -> None:
        """Release everything held; one failing release never keeps the others."""
        if self.settled:
            return
        self.settled = True
        held: list[Release] = [*self._releases, *self._permits]
        for release in reversed(held):
            try:
                release(settlement)
            except Exception:
                logger.exception("a release failed")

    def __repr__(self) -> str:
        held = 0 if self.settled else len(self._releases) + len(self._permits)
        return f"<Lease held={held} settled={self.settled}>"
