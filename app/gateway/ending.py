"""The end of a call, reached exactly once: guards released, row settled, everybody told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from app.core.call import Attempt
from app.core.errors import CallerGone
from app.core.failures import EndpointError, UpstreamTimeout
from app.core.outcome import NO_USAGE, Outcome, Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.guard import Lease
    from app.core.outcome import Usage, UsageSource
    from app.core.ports import Endpoint, Ledger, Observer
    from app.gateway.pace import Pace
    from app.resilience.deadline import Deadline


class Ending:
    """Owns a call's lease and deadline from admission to settlement."""

    __slots__ = (
        "_clock",
        "_endpoint",
        "_ledger",
        "_observer",
        "_pace",
        "_started",
        "call",
        "deadline",
        "lease",
    )

    def __init__(
        self,
        call: Call,
        lease: Lease,
        deadline: Deadline,
        ledger: Ledger,
        observer: Observer,
        pace: Pace,
        clock: Clock,
    ) -> None:
        self.call = call
        self.lease = lease
        self.deadline = deadline
        self._ledger = ledger
        self._observer = observer
        self._pace = pace
        self._clock = clock
        self._endpoint: EndpointSpec | None = None
        self._started = 0.0

    def absorb(self, endpoint: Endpoint, lease: Lease, started: float) -> None:
        """From here on the endpoint's lease ends with the call; `started` is monotonic."""
        self.lease.absorb(lease)
        self._endpoint = endpoint.spec
        self._started = started

    def attempted(self, endpoint: EndpointSpec, started: float, settlement: Settlement) -> None:
        """Note the end of one try; `started` is monotonic."""
        call = self.call
        call.attempts.append(Attempt(endpoint.name, started - call.arrived, settlement))
        self._observer.attempted(call, endpoint, settlement)

    @property
    def reached(self) -> bool:
        return self.lease.settled

    def settle(self, settlement: Settlement) -> Awaitable[None] | None:
        """None if the call had ended before; else an awaitable that is done when the row is durable."""
        if self.lease.settled:
            return None
        self.deadline.stop()
        self.lease.settle(settlement)
        if self._endpoint is not None:
            self.attempted(self._endpoint, self._started, settlement)
        durable = self._ledger.settle(self.call, settlement)
        self._observer.settled(self.call, settlement)
        return durable

    def succeed(self, usage: Usage, source: UsageSource, finish: str | None) -> Awaitable[None] | None:
        """The model finished; as `settle`."""
        return self.settle(
            Settlement(
                Outcome.SUCCESS,
                usage=usage,
                usage_source=source,
                first_byte=self.call.first_byte,
                elapsed=self.elapsed,
                finish=finish,
            )
        )

    def fail(self, error: GatewayError, usage: Usage = NO_USAGE, source: UsageSource = "estimated") -> None:
        """End the call with an error, billed for what was generated if the engine may have worked for it."""
        began = self.call.first_byte is not None
        timeout = isinstance(error, UpstreamTimeout)
        self.settle(
            Settlement(
                outcome=error.outcome if isinstance(error, EndpointError) else Outcome.IGNORED,
                usage=self._completed(usage, source),
                usage_source=source,
                status=error.status,
                first_byte=self.call.first_byte,
                elapsed=self.elapsed,
                finish="timeout" if timeout else "cut" if began else None,
                error_code=error.code,
                reason=getattr(error, "reason", None),
                billed=began or timeout,
            )
        )

    def abandon(self, usage: Usage = NO_USAGE, source: UsageSource = "estimated") -> None:
        """End the call because its task was cancelled; `call.stopped` says by whom."""
        stopped = self.call.stopped or CallerGone()
        gone = isinstance(stopped, CallerGone)
        self.settle(
            Settlement(
                outcome=Outcome.IGNORED,
                usage=self._completed(usage, source),
                usage_source=source,
                status=stopped.status,
                first_byte=self.call.first_byte,
                elapsed=self.elapsed,
                finish="hang_up" if gone else "stopped",
                error_code=stopped.code,
                reason="hang_up" if gone else "stopped",
                billed=self.call.endpoint is not None,
            )
        )

    def _completed(self, usage: Usage, source: UsageSource) -> Usage:
        """An engine that was asked has read the prompt and has generated, whether or not it got to say so."""
        call = self.call
        if call.dispatched_at is None or source == "upstream":
            return usage
        if source == "estimated":
            worked = self._clock.monotonic() - call.dispatched_at
            usage = replace(usage, completion=max(usage.completion, self._pace.generated(call, worked)))
        return usage if usage.prompt else replace(usage, prompt=call.prompt_estimate)

    @property
    def elapsed(self) -> float:
        return self._clock.monotonic() - self.call.arrived
