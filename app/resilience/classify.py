"""What an endpoint's answer means: good, the caller's fault, busy, without the model, or broken."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from app.core.failures import (
    BadUpstream,
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    EndpointRejected,
    ModelMissing,
)
from app.resilience.refusal import read_error, read_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.failures import EndpointError
    from app.resilience.refusal import Refusal

LONGEST_RETRY_AFTER = 60.0

_BUSY_TYPE = "Service Unavailable"
_DEAD = "EngineCore encountered an issue"
_DRAINING = "cannot schedule new futures after shutdown"
_NOT_OUR_HTTP = b"Invalid HTTP request received."
_HTTP_STATUS = re.compile(r"[1-5][0-9]{2}")
_ALWAYS_THE_CALLERS = frozenset({400, 413, 422})
_STATUS_OF_TYPE = {
    "Bad Request": 400,
    "BadRequestError": 400,
    "invalid_request_error": 400,
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "not_found_error": 404,
    _BUSY_TYPE: 503,
}


def classify_head(status: int, headers: Mapping[str, str], body: bytes) -> EndpointError | None:
    """None for 2xx. `headers` have lower-case names; `body` is what was read of it, at will.

    A 404 is about the model only where it says so: one that knows no such route says nothing about
    its models, and one that is not a vLLM's error at all comes from something else at that address.
    """
    if 200 <= status < 300:
        return None
    if status == 400 and body.strip() == _NOT_OUR_HTTP:
        return BadUpstream()
    return _classify(status, headers, read_refusal(body))


def classify_event(error: object) -> EndpointError:
    """An error that came as an event under 200: by its own `code`, else by its type; else a failure."""
    refusal = read_error(error)
    status = _status(refusal)
    return _classify(status if 400 <= status < 600 else 500, {}, refusal)


def _status(refusal: Refusal) -> int:
    code = refusal.code
    if isinstance(code, int):
        return code
    if code is not None and _HTTP_STATUS.fullmatch(code):
        return int(code)
    return _STATUS_OF_TYPE.get(refusal.type or "", 500)


def _classify(status: int, headers: Mapping[str, str], refusal: Refusal) -> EndpointError:
    if not 400 <= status < 600:
        return BadUpstream()
    if status == 429 or (status == 503 and (refusal.type == _BUSY_TYPE or "retry-after" in headers)):
        return EndpointBusy(retry_after=_retry_after(headers))
    if status >= 500 or status == 408:
        message = refusal.message or ""
        return EndpointFailed(draining=_DRAINING in message, died=_DEAD in message)
    if status in {401, 403}:
        return EndpointRefused()
    if status == 404 and _about_the_model(refusal):
        return ModelMissing()
    if refusal.told or status in _ALWAYS_THE_CALLERS:
        return EndpointRejected(status, refusal.raw)
    return BadUpstream()


def _about_the_model(refusal: Refusal) -> bool:
    return (
        refusal.param == "model"
        or refusal.code == "model_not_found"
        or (refusal.param is None and refusal.type in {"NotFoundError", "not_found_error"})
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, at most a minute. A date counts from the answer's own, whose clock it was read from."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_RETRY_AFTER)
