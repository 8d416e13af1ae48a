"""How usage is asked of an endpoint: for all it understands, and for less where it refused more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.failures import EndpointRejected
from app.wire.assembled import assembles

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.gateway.catalog import Model
    from app.wire.request import UsageWanted

REMEMBERED = 600.0
"""Seconds until an endpoint is asked for everything again: servers are upgraded."""

_LESS: tuple[UsageWanted, ...] = ("none", "final", "continuous")
_NAMES = (b"stream_options", b"continuous_usage_stats", b"include_usage")


class Asking(Struct, frozen=True):
    """What one request asks for. `assembled`: a JSON call that is sent as a stream."""

    usage: UsageWanted
    assembled: bool


class _Known(Struct, frozen=True):
    endpoint: EndpointSpec
    usage: UsageWanted
    until: float


class Asker:
    """Knows what each endpoint understands of `stream_options`; all of it until one refused."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def ask(self, call: Call, model: Model, endpoint: EndpointSpec) -> Asking:
        """The most that is wanted and understood."""
        exact = model.accounting == "exact" or call.usage_wanted == "continuous"
        usage: UsageWanted = "continuous" if exact else "final"
        return self._asking(call, model, self._understood(endpoint, usage) if self._known else usage)

    def ask_less(self, call: Call, model: Model, asked: Asking, error: BaseException) -> Asking | None:
        """What to try when the endpoint refused; None: it was not about the usage that was asked for."""
        if not isinstance(error, EndpointRejected):
            return None
        streamed = call.surface.options and (call.streams or asked.assembled)
        if not streamed or asked.usage == "none" or not any(name in error.raw for name in _NAMES):
            return None
        return self._asking(call, model, _LESS[_LESS.index(asked.usage) - 1])

    def learn(self, endpoint: EndpointSpec, usage: UsageWanted) -> None:
        """It understands this and no more."""
        until = self._clock.monotonic() + REMEMBERED
        self._known[endpoint.name] = _Known(endpoint, usage, until)

    def _understood(self, endpoint: EndpointSpec, wanted: UsageWanted) -> UsageWanted:
        known = self._known.get(endpoint.name)
        if known is None:
            return wanted
        if known.endpoint is not endpoint or known.until <= self._clock.monotonic():
            del self._known[endpoint.name]
            return wanted
        return min(known.usage, wanted, key=_LESS.index)

    @staticmethod
    def _asking(call: Call, model: Model, usage: UsageWanted) -> Asking:
        """A JSON call is streamed only where its usage can be had of the stream too."""
        assembled = (
            model.json_upstream == "stream"
            and not call.streams
            and usage != "none"
            and assembles(call.surface.dialect, call.body, model.defaults)
        )
        return Asking(usage, assembled)
