"""Every way a call can be refused or fail, each with the answer the caller gets.

GatewayError
├── the caller's: InvalidRequest RequestExceedsLimit InvalidKey ModelNotFound NotFound MethodNotAllowed
│                 RequestTimeout RequestTooLarge UnsupportedMediaType HeadersTooLarge Conflict
├── limits:       RateLimitExceeded QuotaExhausted
├── capacity:     Overloaded NoHealthyEndpoint ShuttingDown Stopped StorageUnavailable
├── QueryOfDeath  endpoints died of it
├── CallerGone    nobody is there to be answered
└── EndpointError (see core/failures): what an endpoint did
"""

from __future__ import annotations

import json
import math
from typing import Literal

Shed = Literal["queue_full", "queue_wait", "busy", "loop_lag", "memory"]
"""Why a call is turned away for want of capacity."""


class GatewayError(Exception):
    """A bug, unless a subclass says otherwise.

    `should_retry`: the `x-should-retry` header, None leaves it out. `retry_after`: seconds.
    Messages never repeat prompts, keys, hosts or ports.
    """

    status = 500
    type = "server_error"
    code = "internal_error"
    message = "The gateway failed to handle this request."
    should_retry: bool | None = None
    retry_after: float | None = None

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        self.message = message or self.message
        self.param = param
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.message)

    def body(self) -> bytes:
        """The contract's error object, compact JSON."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, separators=(",", ":")).encode()

    def headers(self) -> dict[str, str]:
        """What the error adds to the answer's headers; Retry-After in whole seconds, rounded up."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
            headers["retry-after-ms"] = str(max(1, math.ceil(self.retry_after * 1000)))
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    message = "The request is invalid."


class RequestExceedsLimit(InvalidRequest):
    code = "request_exceeds_limit"
    message = "The request needs more tokens than this key's whole limit allows."


class InvalidKey(GatewayError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    message = "The API key is missing or not valid."

    def headers(self) -> dict[str, str]:
        return super().headers() | {"www-authenticate": "Bearer"}


class Forbidden(GatewayError):
    """Admin only: the token is good, its role is not enough."""

    status = 403
    type = "permission_error"
    code = "permission_denied"
    message = "This token's role does not allow this."


class ModelNotFound(InvalidRequest):
    status = 404
    code = "model_not_found"
    message = "The model does not exist or you do not have access to it."


class NotFound(InvalidRequest):
    status = 404
    code = "not_found"
    message = "There is nothing at this path."


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"
    message = "This path does not answer this method."


class RequestTimeout(InvalidRequest):
    status = 408
    code = "request_timeout"
    message = "The request body arrived too slowly."
    should_retry = False


class Conflict(InvalidRequest):
    status = 409
    code = "conflict"
    message = "The name is taken."


class RequestTooLarge(InvalidRequest):
    status = 413
    code = "request_too_large"
    message = "The request body is larger than this gateway accepts."


class UnsupportedMediaType(InvalidRequest):
    status = 415
    code = "unsupported_media_type"
    message = "Send JSON: content-type application/json, without content-encoding."


class HeadersTooLarge(InvalidRequest):
    status = 431
    code = "headers_too_large"
    message = "The request headers are larger than this gateway accepts."


class RateLimitExceeded(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    message = "A rate limit of this key is reached."
    should_retry = True
    retry_after = 1.0


class QuotaExhausted(GatewayError):
    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    message = "The token quota of this key is used up."
    should_retry = False


class Overloaded(GatewayError):
    """`reason` is what there is too little of, as one word for metrics."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"
    message = "Every endpoint of this model is busy; try again later."
    should_retry = True
    retry_after = 1.0

    def __init__(
        self, message: str | None = None, *, reason: Shed = "busy", retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.reason = reason


class NoHealthyEndpoint(GatewayError):
    status = 503
    code = "no_healthy_endpoint"
    message = "No endpoint of this model is available."
    should_retry = True
    retry_after = 1.0


class ShuttingDown(GatewayError):
    status = 503
    code = "shutting_down"
    message = "This gateway is shutting down."
    should_retry = True
    retry_after = 1.0


class Stopped(GatewayError):
    """An operator ended the call; asking again is not what the operator wants."""

    status = 503
    code = "stopped"
    message = "An operator of the gateway stopped this request."
    should_retry = False


class QueryOfDeath(GatewayError):
    """Endpoints died of such a request before; it is sent to no other one for a while."""

    status = 502
    code = "upstream_error"
    message = "Endpoints failed while they handled this very request; it is not tried again for now."
    should_retry = False
    reason = "fuse"


class StorageUnavailable(GatewayError):
    status = 503
    code = "storage_unavailable"
    message = "Usage cannot be recorded at the moment."
    should_retry = True
    retry_after = 1.0


class CallerGone(GatewayError):
    """Seen in logs and metrics only."""

    status = 499
    code = "caller_gone"
    message = "The caller hung up."
