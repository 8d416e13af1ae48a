from __future__ import annotations

import json

import pytest

from tests.house import chat
from tests.line import answer
from tests.scripted import ANSWERS, CLOSED, REFUSED, SILENT, fails, says, scripted

CHAT = "/v1/chat/completions"

BUSY = fails(503, "Service Unavailable")
MISSING = fails(404, "NotFoundError", param="model")

ENDINGS = {
    "u28 5xx on every attempt": (fails(500), 502, "upstream_error", "server_error", False),
    "u35 garbage": (says(b"<html>"), 502, "bad_upstream", "server_error", False),
    "u23 redirect": (
        says(b"", 307, location="http://127.0.0.1:1/"),
        502,
        "bad_upstream",
        "server_error",
        False,
    ),
    "u33 401": (says(b'{"error":"Unauthorized"}', 401), 502, "bad_upstream", "server_error", False),
    "u33 403": (fails(403), 502, "bad_upstream", "server_error", False),
    "u34 model missing everywhere": (MISSING, 404, "model_not_found", "invalid_request_error", None),
    "u01 refused": (REFUSED, 503, "no_healthy_endpoint", "server_error", True),
    "u18 closed": (CLOSED, 502, "upstream_error", "server_error", False),
    "u30 busy": (BUSY, 503, "overloaded", "overloaded_error", True),
    "u31 429": (fails(429, "RateLimitError", retry_after="7"), 503, "overloaded", "overloaded_error", True),
    "u03 silent": (SILENT, 504, "upstream_total_timeout", "server_error", False),
}


@pytest.fixture(params=["respx", "direct"])
def kind(request):
    return request.param


def assert_shape(reply):
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "127.0.0.1" not in reply.text
    return error


@pytest.mark.parametrize("name", ENDINGS)
async def test_ending_has_the_status_code_and_advice_it_should(kind, name):
    act, status, code, type_, again = ENDINGS[name]
    short = {"timeouts": {"total": 0.3}} if name == "u03 silent" else {}
    async with scripted(kind, act, act, resilience=short) as (gateway, _):
        reply = await gateway.ask("a secret prompt")
        error = assert_shape(reply)
        assert (reply.status_code, error["code"], error["type"]) == (status, code, type_)
        assert "secret" not in reply.text
        assert reply.headers.get("x-should-retry") == (None if again is None else str(again).lower())
        assert ("retry-after" in reply.headers) == (again is True)
        row = await gateway.row()
        assert row.state == ("settled" if name == "u03 silent" else "void")
        assert (row.status, row.error_code) == (status, code)


@pytest.mark.parametrize("name", ENDINGS)
async def test_stream_that_never_began_ends_like_a_whole_answer(kind, name):
    act, status, code, _, _ = ENDINGS[name]
    code = "upstream_first_byte_timeout" if name == "u03 silent" else code
    short = {"timeouts": {"first_byte": 0.3}}
    async with scripted(kind, act, act, resilience=short) as (gateway, _):
        reply = await gateway.ask(stream=True)
        error = assert_shape(reply)
        assert (reply.status_code, error["code"]) == (status, code)


async def test_u30_longest_wait_of_the_fleet_is_passed_on(kind):
    async with scripted(kind, fails(503, "x", retry_after="7"), fails(503, "x", retry_after="3")) as (
        gateway,
        _,
    ):
        reply = await gateway.ask()
        assert reply.status_code == 503
        assert 1 <= int(reply.headers["retry-after"]) <= 7


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (
            b'{"object":"error","message":"flat","type":"BadRequestError","param":null,"code":400}',
            "BadRequestError",
        ),
        (b'{"detail":"There was an error parsing the body"}', "invalid_request_error"),
        (
            b'{"detail":[{"type":"missing","loc":["body","x"],"msg":"Field required","input":"a secret"}]}',
            None,
        ),
    ],
)
async def test_other_shapes_of_refusals_are_brought_into_one(kind, body, type_):
    async with scripted(kind, says(body, 400)) as (gateway, _):
        reply = await gateway.ask()
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert error["message"]
        assert type_ in (None, error["type"])
        assert "secret" not in reply.text


async def test_u27_cookies_and_odd_headers_of_an_endpoint_stay_behind(kind):
    act = says(answer(), set_cookie="sid=A; Path=/", x_powered_by="somebody", server="vllm")
    async with scripted(kind, act) as (gateway, (endpoint,)):
        for _ in range(2):
            reply = await gateway.ask()
            assert "set-cookie" not in reply.headers
            assert "x-powered-by" not in reply.headers
        assert all("cookie" not in headers for headers, _ in endpoint.asked)


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_request"),
        (b"[]", {}, 400, "invalid_request"),
        (b'{"model": NaN}', {}, 400, "invalid_request"),
        (b'{"model": "tiny", "messages": "x"}', {}, 400, "invalid_request"),
        (b'{"messages": []}', {}, 400, "invalid_request"),
        (b"\xff\xfe{}", {}, 400, "invalid_request"),
        (json.dumps(chat(n=100)).encode(), {}, 400, "invalid_request"),
        (json.dumps(chat(chat_template="x")).encode(), {}, 400, "invalid_request"),
        (json.dumps(chat()).encode(), {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (json.dumps(chat()).encode(), {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        (json.dumps(chat(model="nope")).encode(), {}, 404, "model_not_found"),
        (json.dumps(chat()).encode(), {"authorization": "Bearer no"}, 401, "invalid_api_key"),
        (json.dumps(chat()).encode(), {"authorization": ""}, 401, "invalid_api_key"),
        (b" " * 2000, {}, 413, "request_too_large"),
    ],
)
async def test_bad_request_reaches_no_endpoint_and_no_ledger(content, headers, status, code):
    async with scripted("direct", ANSWERS, server={"max_body": 1500}) as (gateway, (endpoint,)):
        given = {"content-type": "application/json"} | headers
        reply = await gateway.client.post(CHAT, content=content, headers=given)
        error = assert_shape(reply)
        assert (reply.status_code, error["code"]) == (status, code)
        assert ("www-authenticate" in reply.headers) == (status == 401)
        assert endpoint.asked == []
        assert await gateway.rows() == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", CHAT + "/", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("GET", "/metrics", 404, "not_found"),
        ("GET", "/admin/v1/tenants", 404, "not_found"),
    ],
)
async def test_everything_else_is_refused_in_the_same_shape(method, path, status, code):
    async with scripted("direct", ANSWERS) as (gateway, _):
        reply = await gateway.client.request(method, path)
        assert (reply.status_code, assert_shape(reply)["code"]) == (status, code)
        assert ("allow" in reply.headers) == (status == 405)


async def test_limit_reached_says_so_in_all_the_headers_it_should():
    async with scripted("direct", ANSWERS) as (gateway, (endpoint,)):
        await gateway.limit(requests_per_minute=1, tokens_per_minute=100_000)
        first = await gateway.ask()
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        assert first.headers["x-ratelimit-limit-tokens"] == "100000"
        reply = await gateway.ask()
        error = assert_shape(reply)
        assert (reply.status_code, error["code"], error["type"]) == (
            429,
            "rate_limit_exceeded",
            "rate_limit_error",
        )
        assert "1 requests per minute" in error["message"]
        assert reply.headers["x-should-retry"] == "true"
        assert int(reply.headers["retry-after-ms"]) <= 60_000
        assert len(endpoint.asked) == 1
        assert len(await gateway.rows()) == 1


async def test_quota_used_up_is_not_to_be_retried():
    async with scripted("direct", ANSWERS) as (gateway, (endpoint,)):
        await gateway.limit(tokens_per_day=30)
        while (reply := await gateway.ask(max_tokens=3)).status_code == 200:
            assert len(endpoint.asked) < 20
        error = assert_shape(reply)
        assert (reply.status_code, error["code"]) == (429, "insufficient_quota")
        assert reply.headers["x-should-retry"] == "false"
        assert int(reply.headers["retry-after"]) <= 86_400


async def test_call_larger_than_the_whole_limit_is_a_bad_request():
    async with scripted("direct", ANSWERS) as (gateway, (endpoint,)):
        await gateway.limit(tokens_per_minute=50)
        reply = await gateway.ask("word " * 100)
        assert (reply.status_code, assert_shape(reply)["code"]) == (400, "request_exceeds_limit")
        assert endpoint.asked == []


async def test_full_queue_is_overload():
    crowded = {"bulkhead": {"max_concurrent_calls": 1}, "queue": {"max_wait": 0.1}}
    async with scripted("direct", SILENT, resilience=crowded) as (gateway, (endpoint,)):
        caller = await gateway.caller()
        caller.say(gateway.request())
        reply = await gateway.ask()
        error = assert_shape(reply)
        assert (reply.status_code, error["code"], error["type"]) == (503, "overloaded", "overloaded_error")
        assert reply.headers["x-should-retry"] == "true"
        assert int(reply.headers["retry-after"]) >= 1
        assert len(endpoint.asked) == 1
        caller.hang_up()
