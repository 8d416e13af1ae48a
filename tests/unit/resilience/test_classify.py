"""What an endpoint's answer means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.failures import (
    BadUpstream,
    EndpointBusy,
    EndpointError,
    EndpointFailed,
    EndpointRefused,
    EndpointRejected,
    ModelMissing,
)
from app.resilience.classify import classify_event, classify_head

BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
NO_MODEL = "The model `nope` does not exist. Valid aliases: tiny."


def error(message="no", kind="BadRequestError", param=None, code=400) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


def head(status: int, body: bytes = b"", **headers: str) -> EndpointError | None:
    return classify_head(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_good_heads_are_no_error(status):
    assert head(status, b"anything") is None


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_own_fault_is_passed_on(status):
    rejected = head(status, error())
    assert isinstance(rejected, EndpointRejected)
    assert (rejected.status, rejected.body()) == (status, error())


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_own_fault_needs_no_body_we_understand(status):
    rejected = head(status, b"<html>")
    assert isinstance(rejected, EndpointRejected)
    assert json.loads(rejected.body())["error"]["message"]


@pytest.mark.parametrize("status", [402, 405, 409, 415, 418, 451])
def test_other_4xx_are_passed_on_where_something_was_said(status):
    assert isinstance(head(status, b'{"detail":"Method Not Allowed"}'), EndpointRejected)
    assert isinstance(head(status, b"<html>nginx</html>"), BadUpstream)


def test_a_server_that_cannot_read_our_http_is_not_the_engine():
    assert isinstance(head(400, b"Invalid HTTP request received."), BadUpstream)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_ours_not_the_callers(status):
    assert isinstance(head(status, b'{"error":"Unauthorized"}'), EndpointRefused)


@pytest.mark.parametrize(
    "body",
    [
        error(NO_MODEL, "NotFoundError", "model", 404),
        error("The model `zz` does not exist.", "NotFoundError", None, 404),
        error(NO_MODEL, "invalid_request_error", None, "model_not_found"),
        error(NO_MODEL, "whatever", "model", 404),
        json.dumps({"object": "error", "message": NO_MODEL, "type": "NotFoundError", "code": 404}).encode(),
        json.dumps({"type": "error", "error": {"type": "NotFoundError", "message": NO_MODEL}}).encode(),
        json.dumps({"type": "error", "error": {"type": "not_found_error", "message": NO_MODEL}}).encode(),
    ],
)
def test_a_404_about_the_model_means_it_is_missing_there(body):
    assert isinstance(head(404, body), ModelMissing)


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail":"Not Found"}',
        error("Response with id 'resp_1' not found.", "invalid_request_error", "response_id", 404),
        error("Response with id 'resp_1' not found.", "NotFoundError", "response_id", 404),
    ],
)
def test_a_404_about_something_else_leaves_the_model_alone(body):
    rejected = head(404, body)
    assert isinstance(rejected, EndpointRejected)
    assert rejected.status == 404


def test_a_404_that_no_vllm_wrote_is_a_bad_endpoint():
    assert isinstance(head(404, b"<html>nginx</html>"), BadUpstream)


def test_too_many_requests_means_busy():
    assert head(429, b"slow down", retry_after="7").retry_after == 7
    assert head(429).retry_after is None
    assert isinstance(head(429), EndpointBusy)


def test_unavailable_for_a_time_means_busy():
    assert isinstance(head(503, b"", retry_after="5"), EndpointBusy)
    assert isinstance(head(503, b"", retry_after="whenever"), EndpointBusy)


@pytest.mark.parametrize(
    "body",
    [
        error(BUSY, "Service Unavailable", None, 503),
        json.dumps({"type": "error", "error": {"type": "Service Unavailable", "message": BUSY}}).encode(),
    ],
)
def test_vllms_own_words_for_busy_are_known(body):
    assert isinstance(head(503, body), EndpointBusy)


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 599])
def test_other_5xx_and_its_own_timeouts_are_the_endpoints_failure(status):
    failed = head(status, error("EngineCore encountered an issue.", "InternalServerError", None, status))
    assert isinstance(failed, EndpointFailed)
    assert not failed.draining


def test_only_503_can_be_busy_among_5xx():
    assert isinstance(head(500, error(BUSY, "Service Unavailable"), retry_after="5"), EndpointFailed)


def test_an_engine_that_shuts_down_is_draining():
    failed = head(500, error("cannot schedule new futures after shutdown", "InternalServerError", None, 500))
    assert isinstance(failed, EndpointFailed)
    assert failed.draining


@pytest.mark.parametrize("status", [100, 199, 301, 307, 399, 600, 999])
def test_heads_that_no_reply_may_have_are_bad(status):
    assert isinstance(head(status, error()), BadUpstream)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("5", 5), ("60", 60), ("9" * 400, 60), ("-1", None), ("1.5", None), ("nan", None), ("", None)],
)
def test_retry_after_is_whole_seconds_up_to_a_minute(value, seconds):
    assert head(429, retry_after=value).retry_after == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Fri, 20 Nov 2026 09:07:21 GMT", 20),
        ("Fri, 20 Nov 2026 10:07:01 GMT", 60),
        ("Fri, 20 Nov 2026 08:07:01 GMT", 0),
        ("Fri, 20 Nov 2026 09:07:21 -0000", None),
        ("Fri, 20 Nov 2026 09:07:21 +99999999999999", None),
    ],
)
def test_retry_after_as_a_date_counts_from_the_answers_own(date, seconds):
    assert head(429, retry_after=date, date="Fri, 20 Nov 2026 09:07:01 GMT").retry_after == seconds


def test_retry_after_as_a_date_without_the_answers_own_says_nothing():
    assert head(429, retry_after="Fri, 20 Nov 2026 09:07:21 GMT").retry_after is None


def test_an_event_is_judged_by_its_code():
    rejected = classify_event({"message": "n < 0", "type": "BadRequestError", "param": "n", "code": 422})
    assert isinstance(rejected, EndpointRejected)
    assert rejected.status == 422
    assert json.loads(rejected.body())["error"]["param"] == "n"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "no", "code": 400}}, EndpointRejected),
        ({"message": "no", "code": "400"}, EndpointRejected),
        ({"message": "no", "type": "BadRequestError"}, EndpointRejected),
        ({"message": NO_MODEL, "type": "NotFoundError", "code": 404}, ModelMissing),
        ({"message": BUSY, "type": "Service Unavailable", "code": 503}, EndpointBusy),
        ({"message": BUSY, "type": "Service Unavailable"}, EndpointBusy),
        ({"message": "slow down", "code": 429}, EndpointBusy),
        ({"message": "who?", "code": 401}, EndpointRefused),
        ({"message": "broken", "code": 500}, EndpointFailed),
        ({"message": "broken", "type": "internal_error"}, EndpointFailed),
        ({"message": "broken", "code": "server_error"}, EndpointFailed),
        ({"message": "broken", "code": 200}, EndpointFailed),
        ({"message": "broken", "code": 10**30}, EndpointFailed),
        ({"message": "broken"}, EndpointFailed),
        ("broken", EndpointFailed),
        (None, EndpointFailed),
    ],
)
def test_an_event_is_judged_like_a_head(event, kind):
    assert type(classify_event(event)) is kind


def test_an_event_may_say_that_the_engine_shuts_down():
    assert classify_event({"message": "cannot schedule new futures after shutdown", "code": 500}).draining


@given(st.integers(-1, 1000), st.binary() | st.sampled_from([error(), b"{}", b'{"detail":[]}']), st.text())
def test_no_head_ever_raises(status, body, retry_after):
    said = classify_head(status, {"retry-after": retry_after}, body)
    assert (said is None) == (200 <= status < 300)
