"""What a call passes before it is dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from app.core.call import Call
    from app.core.guard import Release
    from app.tenancy.limiter import Limiter


class LimitGuard:
    """Rate, tokens, quota and concurrency of key and tenant, in one step."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def admit(self, call: Call) -> Coroutine[None, None, Release]:
        return self._limiter.admit(call)
