"""A tenant's share of a pool's places, so that long answers to one leave room for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.outcome import Settlement


class Shares:
    """A gate that counts who holds how many places. `most` is asked each time: fleets change."""

    __slots__ = ("_held", "most")

    ready = True

    def __init__(self, most: Callable[[], int]) -> None:
        self.most = most
        self._held: dict[str, int] = {}

    def may_hold(self, tenant: str) -> bool:
        """Whether it may have one more."""
        held = self._held.get(tenant, 0)
        return not held or held < self.most()

    def admit(self, call: Call) -> Holding:
        """Whoever asks has asked `may_hold`."""
        tenant = call.key.tenant.id
        self._held[tenant] = self._held.get(tenant, 0) + 1
        return Holding(self, tenant)

    def give_back(self, tenant: str) -> None:
        left = self._held[tenant] - 1
        if left:
            self._held[tenant] = left
        else:
            del self._held[tenant]

    def __repr__(self) -> str:
        return f"<Shares most={self.most()} held={self._held}>"


class Holding(Struct, eq=False):
    """One place of a tenant; given back once."""

    _shares: Shares | None
    _tenant: str

    def answered(self) -> None:
        """An answer that has begun still takes room."""

    def __call__(self, settlement: Settlement) -> None:
        shares, self._shares = self._shares, None
        if shares is not None:
            shares.give_back(self._tenant)
