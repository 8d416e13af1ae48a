"""What a call passes before it is dispatched: its limits, and a ledger that can still write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from app.core.call import Call
    from app.core.guard import Release
    from app.core.outcome import Settlement
    from app.tenancy.ledger import StoreLedger
    from app.tenancy.limiter import Limiter


class LimitGuard:
    """Rate, tokens, quota and concurrency of key and tenant, in one step."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def admit(self, call: Call) -> Coroutine[None, None, Release]:
        return self._limiter.admit(call)


class LedgerGuard:
    """No new work while what was done cannot be written down."""

    def __init__(self, ledger: StoreLedger) -> None:
        self._ledger = ledger

    async def admit(self, call: Call) -> Release:
        if self._ledger.overdue:
            raise StorageUnavailable
        return _nothing


def _nothing(settlement: Settlement) -> None:
    """Admission is all this guard does."""
