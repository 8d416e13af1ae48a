"""The end of a call, reached exactly once: guards released, row settled, everybody told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from app.core.call import Attempt
from app.core.errors import CallerGone
from app.core.failures import EndpointError, UpstreamTimeout
from app.core.outcome import NO_USAGE, Outcome, Settlement, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.guard import Lease
    from app.core.outcome import UsageSource
    from app.core.ports import Endpoint, Ledger, Observer
    from app.gateway.pace import Pace
    from app.resilience.deadline import Deadline
    from app.resilience.fuse import Fuse

_CUT_SHORT = frozenset({"hang_up", "first_byte", "idle", "total"})
"""Reasons of attempts that ended while the endpoint was still at work."""

_DIED = frozenset({"closed", "5xx"})
"""Reasons of attempts that ended at work, of which nobody heard how far they had come."""

_SAID_SO = frozenset({"5xx", "in_band"})
"""Reasons of attempts whose endpoint reported its own end."""


class Ending(Struct, eq=False):
    """Owns a call's lease and deadline from admission to settlement."""

    call: Call
    lease: Lease
    deadline: Deadline
    _ledger: Ledger
    _observer: Observer
    _pace: Pace
    _fuse: Fuse
    _clock: Clock
    _place: Lease | None = None
    _endpoint: EndpointSpec | None = None
    _started: float = 0.0
    _hedge: bool = False
    _broken_off: bool = False

    def absorb(self, endpoint: Endpoint, lease: Lease, started: float, *, hedge: bool = False) -> None:
        """From here on the endpoint's lease ends with the call; `started` is monotonic."""
        self._place = lease
        self._endpoint = endpoint.spec
        self._started = started
        self._hedge = hedge

    def release(self, settlement: Settlement) -> None:
        """The attempt under way is over, and the call is not: the caller has a part of its answer."""
        if self._place is None or self._endpoint is None:
            raise RuntimeError("there is no attempt to end")
        self._place.settle(settlement)
        self.attempted(self._endpoint, self._started, settlement, hedge=self._hedge)
        self._place = self._endpoint = None
        self._broken_off = True

    def attempted(
        self, endpoint: EndpointSpec, started: float, settlement: Settlement, *, hedge: bool = False
    ) -> None:
        """Note the end of one try; `started` is monotonic. One that died unheard has probably generated."""
        call = self.call
        if settlement.died:
            self._fuse.died(call, endpoint.name, started, certain=settlement.reason in _SAID_SO)
        elif self._fuse.armed and settlement.outcome is Outcome.SUCCESS:
            self._fuse.clear(call)
        if settlement.reason in _DIED and settlement.usage is NO_USAGE:
            settlement = replace(settlement, usage=Usage(completion=self._generated(started)))
        ended = settlement.elapsed or self.elapsed
        call.attempts.append(Attempt(endpoint.name, started - call.arrived, settlement, hedge, ended))
        self._observer.attempted(call, endpoint, settlement)

    @property
    def reached(self) -> bool:
        return self.lease.settled

    def settle(self, settlement: Settlement) -> Awaitable[None] | None:
        """None if the call had ended before; else an awaitable that is done when the row is durable."""
        if self.lease.settled:
            return None
        self.deadline.stop()
        metered = self.call.metered
        if metered is not None and metered.suspect:
            settlement = replace(settlement, suspect=True)
        if self._place is not None:
            self._place.settle(settlement)
        self.lease.settle(settlement)
        if self._endpoint is not None:
            self.attempted(self._endpoint, self._started, settlement, hedge=self._hedge)
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

    def fail(self, error: GatewayError, usage: Usage, source: UsageSource) -> None:
        """End the call with an error, billed for what was generated if an endpoint was at work on it."""
        since = self._at_work_since()
        used, source = self._used(since, usage, source)
        self.settle(
            Settlement(
                outcome=error.outcome if isinstance(error, EndpointError) else Outcome.IGNORED,
                usage=used,
                usage_source=source,
                status=error.status,
                first_byte=self.call.first_byte,
                elapsed=self.elapsed,
                finish=None if since is None else "timeout" if isinstance(error, UpstreamTimeout) else "cut",
                error_code=error.code,
                reason=getattr(error, "reason", None),
                billed=since is not None,
                died=isinstance(error, EndpointError) and error.died,
            )
        )

    def abandon(self, usage: Usage, source: UsageSource) -> None:
        """End the call because its task was cancelled; `call.stopped` says by whom."""
        stopped = self.call.stopped or CallerGone()
        word = "hang_up" if isinstance(stopped, CallerGone) else "stopped"
        since = self._at_work_since()
        used, source = self._used(since, usage, source)
        self.settle(
            Settlement(
                outcome=Outcome.IGNORED,
                usage=used,
                usage_source=source,
                status=stopped.status,
                first_byte=self.call.first_byte,
                elapsed=self.elapsed,
                finish=word,
                error_code=stopped.code,
                reason=word,
                billed=since is not None,
            )
        )

    def _at_work_since(self) -> float | None:
        """When the attempt began that this end cuts short; None when no endpoint is at work on the call.

        One that broke off in the midst of its answer is cut short by the end that follows.
        """
        if self._endpoint is not None or self._broken_off:
            return self._started
        for attempt in reversed(self.call.attempts):
            if attempt.settlement.reason in _CUT_SHORT:
                return self.call.arrived + attempt.started
        return None

    def _used(self, since: float | None, usage: Usage, source: UsageSource) -> tuple[Usage, UsageSource]:
        """An engine at work has read the prompt and has generated, whether or not it got to say so."""
        call = self.call
        if since is None:
            return NO_USAGE, "estimated"
        if source == "estimated" and not usage.completion:
            usage = replace(usage, completion=self._generated(since))
        if source != "upstream" and not usage.prompt:
            usage = replace(usage, prompt=call.prompt_estimate)
        return usage, source

    def _generated(self, since: float) -> int:
        """By estimate. A stream's first event comes with its first token: it told of all it made."""
        if self.call.streams or self.call.metered is not None:
            return 0
        return self._pace.generated(self.call, self._clock.monotonic() - since)

    @property
    def elapsed(self) -> float:
        return self._clock.monotonic() - self.call.arrived

    def __repr__(self) -> str:
        return f"<Ending of {self.call.id} reached={self.reached}>"
