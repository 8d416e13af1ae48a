"""What callers are told of each way a call can fail, as the gateway promises it, and the check of one answer."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Promise(NamedTuple):
    """`retry_after`: whether that header is there; `should_retry`: the value of that one, if any."""

    status: int
    type: str
    retry_after: bool = False
    should_retry: str | None = None


PROMISES = {
    "invalid_request": Promise(400, "invalid_request_error"),
    "request_exceeds_limit": Promise(400, "invalid_request_error"),
    "invalid_api_key": Promise(401, "authentication_error"),
    "model_not_found": Promise(404, "invalid_request_error"),
    "request_too_large": Promise(413, "invalid_request_error"),
    "unsupported_media_type": Promise(415, "invalid_request_error"),
    "headers_too_large": Promise(431, "invalid_request_error"),
    "method_not_allowed": Promise(405, "invalid_request_error"),
    "not_found": Promise(404, "invalid_request_error"),
    "request_timeout": Promise(408, "invalid_request_error", should_retry="false"),
    "rate_limit_exceeded": Promise(429, "rate_limit_error", True, "true"),
    "insufficient_quota": Promise(429, "insufficient_quota", True, "false"),
    "overloaded": Promise(503, "overloaded_error", True, "true"),
    "no_healthy_endpoint": Promise(503, "server_error", True, "true"),
    "shutting_down": Promise(503, "server_error", True, "true"),
    "storage_unavailable": Promise(503, "server_error", True, "true"),
    "bad_upstream": Promise(502, "server_error", should_retry="false"),
    "upstream_error": Promise(502, "server_error", should_retry="false"),
    "upstream_connect_timeout": Promise(504, "server_error", True, "true"),
    "upstream_first_byte_timeout": Promise(504, "server_error", should_retry="false"),
    "upstream_idle_timeout": Promise(504, "server_error", should_retry="false"),
    "upstream_total_timeout": Promise(504, "server_error", should_retry="false"),
    "internal_error": Promise(500, "server_error", should_retry="false"),
}
"""By code."""

LONGEST_WAIT = 60
"""Seconds that a caller is told to wait at most, but for quotas."""


def assert_refused(reply: Any, code: str) -> None:
    """The whole answer: status, shape, headers, and nothing of the fleet or the prompt in it."""
    promise = PROMISES[code]
    error = json.loads(reply.content)["error"]
    assert (reply.status_code, error["code"], error["type"]) == (promise.status, code, promise.type)
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-request-id"]
    assert reply.headers.get("x-should-retry") == promise.should_retry
    assert ("retry-after" in reply.headers) == promise.retry_after
    if promise.retry_after and code != "insufficient_quota":
        assert 1 <= int(reply.headers["retry-after"]) <= LONGEST_WAIT
        assert 0 < int(reply.headers["retry-after-ms"]) <= 1000 * int(reply.headers["retry-after"])
    assert_discreet(reply.text)


def assert_broken_off(text: str, code: str) -> None:
    """A stream that ends with an error event, and without [DONE]."""
    error = json.loads(text.rstrip().rpartition("\n\n")[2].removeprefix("data: "))["error"]
    assert (error["code"], error["type"]) == (code, PROMISES[code].type)
    assert set(error) == {"message", "type", "param", "code"}
    assert "[DONE]" not in text
    assert_discreet(text)


def assert_discreet(text: str) -> None:
    for word in ("127.0.0.1", "gpu-", "canary", "Traceback", "sk-"):
        assert word not in text
