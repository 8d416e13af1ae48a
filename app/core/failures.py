"""Every way an endpoint can fail a call; each says whom it blames, what it costs and where to go next.

EndpointError
├── before the request was sent: ConnectFailed ConnectTimeout                 (free, elsewhere)
├── it said so:                  EndpointBusy EndpointRefused ModelMissing    (free, elsewhere)
│                                EndpointRejected                             (the caller's fault: passed on)
├── it broke:                    EndpointFailed ClosedEarly BadUpstream       (cost an attempt, elsewhere)
├── it was silent:               FirstByteTimeout IdleTimeout TotalTimeout    (final)
└── after the first useful event: StreamBroken                                (final)
"""

from __future__ import annotations

from app.core.errors import GatewayError
from app.core.outcome import Outcome


class EndpointError(GatewayError):
    """`outcome` is what the breaker learns; `free` costs neither attempt nor retry budget;
    `elsewhere`: another endpoint may be tried while nothing has reached the caller;
    `died`: the endpoint's process, or its engine, is gone and the call was there;
    `reason`: one word for metrics.
    """

    status = 502
    code = "upstream_error"
    message = "The endpoint failed to answer."
    should_retry: bool | None = False
    outcome = Outcome.FAILURE
    free = False
    elsewhere = False
    draining = False
    died = False
    reason = "error"


class ConnectFailed(EndpointError):
    """Refused, unreachable, unresolvable, or a failed TLS handshake: nothing was sent."""

    status = 503
    code = "no_healthy_endpoint"
    message = "No endpoint of this model is available."
    should_retry = True
    retry_after = 1.0
    free = elsewhere = True
    reason = "connect"


class ConnectTimeout(EndpointError):
    status = 504
    code = "upstream_connect_timeout"
    message = "No endpoint of this model accepted a connection in time."
    should_retry = True
    retry_after = 1.0
    free = elsewhere = True
    reason = "connect_timeout"


class ClosedEarly(EndpointError):
    """The connection ended after the request was sent and before the first useful event."""

    elsewhere = died = True
    reason = "closed"


class EndpointFailed(EndpointError):
    """A 5xx that does not mean busy, in the head or before the first useful event; an answer given up before it.

    `draining`: the engine is shutting down and should get nothing more.
    """

    elsewhere = True
    reason = "5xx"

    def __init__(self, message: str | None = None, *, draining: bool = False, died: bool = False) -> None:
        super().__init__(message)
        self.draining = draining
        self.died = died


class BadUpstream(EndpointError):
    """Not HTTP, not the framing it announced, a redirect, too large, or not what a vLLM answers."""

    code = "bad_upstream"
    message = "The endpoint answered something that is not a valid reply."
    elsewhere = True
    reason = "bad"


class EndpointBusy(EndpointError):
    """429, 503 with Retry-After, or vLLM's own busy body; `retry_after` is the endpoint's, if any."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"
    message = "Every endpoint of this model is busy; try again later."
    should_retry = True
    retry_after = None
    outcome = Outcome.IGNORED
    free = elsewhere = True
    reason = "busy"


class EndpointRefused(EndpointError):
    """401 or 403: our credentials for this endpoint are wrong; never shown to the caller as its own."""

    code = "bad_upstream"
    outcome = Outcome.IGNORED
    free = elsewhere = True
    reason = "refused"


class ModelMissing(EndpointError):
    """404 about the model: this endpoint does not serve it (any more)."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"
    message = "The model does not exist or you do not have access to it."
    should_retry = None
    outcome = Outcome.IGNORED
    free = elsewhere = True
    reason = "model_missing"


class EndpointRejected(EndpointError):
    """What the endpoint said about the caller's own request, passed on with its status.

    `raw` is a complete error body in the nested shape.
    """

    type = "invalid_request_error"
    code = "invalid_request"
    should_retry = None
    outcome = Outcome.IGNORED
    reason = "rejected"

    def __init__(self, status: int, raw: bytes) -> None:
        super().__init__("The endpoint rejected the request.")
        self.status = status
        self.raw = raw

    def body(self) -> bytes:
        return self.raw


class UpstreamTimeout(EndpointError):
    status = 504
    message = "The endpoint did not answer in time."


class FirstByteTimeout(UpstreamTimeout):
    code = "upstream_first_byte_timeout"
    reason = "first_byte"


class IdleTimeout(UpstreamTimeout):
    code = "upstream_idle_timeout"
    reason = "idle"


class TotalTimeout(UpstreamTimeout):
    code = "upstream_total_timeout"
    outcome = Outcome.IGNORED
    reason = "total"


class StreamBroken(EndpointError):
    """Cut, aborted, failed in band or ended without a finish reason after the first event.

    A connection that is cut or reset is a death; a failure in band only where it is told to be one.
    """

    message = "The endpoint broke off before the answer was complete."
    reason = "cut"

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str = "cut",
        draining: bool = False,
        died: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.draining = draining
        self.died = reason in {"cut", "reset"} if died is None else died
