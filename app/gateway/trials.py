"""What carrying a stream on has to leave out and to pay for: where it broke off, and what it cost before."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from app.core.failures import BadUpstream, ClosedEarly, EndpointError, EndpointFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.call import Call

_COSTLY: Mapping[str | None, type[EndpointError]] = MappingProxyType(
    {failure.reason: failure for failure in (ClosedEarly, EndpointFailed, BadUpstream)}
)
"""What an attempt may have come to before the first event. One that cost nothing may be made there again."""


class Trials:
    """The endpoints not to ask again, and the failures that count against the call's attempts."""

    __slots__ = ("endpoints", "failures")

    def __init__(self) -> None:
        self.endpoints: list[str] = []
        self.failures: list[EndpointError] = []

    def add(self, call: Call, error: EndpointError) -> None:
        """The call's last attempt broke off; the error may be mended elsewhere from now on."""
        *earlier, last = call.attempts
        if not self.failures:
            for attempt in earlier:
                failure = _COSTLY.get(attempt.settlement.reason)
                if failure is not None:
                    self.failures.append(failure())
                    self.endpoints.append(attempt.endpoint)
        error.elsewhere = True
        self.failures.append(error)
        if last.endpoint not in self.endpoints:
            self.endpoints.append(last.endpoint)
