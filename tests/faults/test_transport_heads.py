"""What both transports do with strange heads and ordinary errors, and what they send themselves."""

from __future__ import annotations

import os

import pytest

from app.core.failures import BadUpstream
from tests.faults import behaviours as up
from tests.faults.behaviours import ANSWER, END, EVENT, JSON, OK, SSE, chunk, saying, whole

HEAD_FLOODS = {
    "one_long_header": up.flooding(OK + b"x: ", b"a" * 65_536),
    "many_headers": up.flooding(OK, b"x-y: z\r\n" * 1_000),
    "one_long_name": up.flooding(OK, b"a" * 65_536),
    "long_reason": up.flooding(b"HTTP/1.1 200 ", b"a" * 65_536),
}


@pytest.mark.parametrize("flood", HEAD_FLOODS.values(), ids=HEAD_FLOODS)
async def test_u20_endless_head_is_a_bad_upstream(rig, flood):
    await rig.serve(flood)
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u20_five_megabytes_of_header_are_a_bad_upstream(rig):
    await rig.serve(saying(whole(b"{}", extra=b"x: %s\r\n" % (b"a" * 5_000_000))))
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u20_a_large_but_decent_head_passes(rig):
    await rig.serve(saying(whole(b"{}", extra=b"x: %s\r\n" % (b"a" * 30_000))))
    reply = await rig.send()
    assert len(reply.headers["x"]) == 30_000
    assert await rig.whole(reply.body) == b"{}"


async def test_u21_flood_of_informational_answers_is_refused(rig):
    await rig.serve(saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + whole(ANSWER)))
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u21_a_few_informational_answers_are_skipped(rig):
    await rig.serve(saying(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 16, whole(ANSWER)))
    reply = await rig.send()
    assert "link" not in reply.headers
    assert await rig.whole(reply.body) == ANSWER


@pytest.mark.parametrize(
    "status", [b"101 Switching Protocols", b"999 Odd", b"600 Odd", b"000 Odd", b"20 Odd", b"2000 Odd"]
)
async def test_u22_impossible_status_is_a_bad_upstream(rig, status):
    await rig.serve(up.saying_then_silence(whole(ANSWER, status)))
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u22_upgrade_is_a_bad_upstream(rig):
    await rig.serve(
        saying(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x01a")
    )
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u23_redirect_is_handed_back_and_followed_by_nobody(rig):
    elsewhere = await rig.serve(up.answers)
    server = await rig.serve(
        saying(whole(b"", b"307 Temporary Redirect", b"location: %s/\r\n" % elsewhere.url.encode()))
    )
    reply = await rig.send()
    assert reply.status == 307
    assert await rig.whole(reply.body) == b""
    assert (server.accepted, elsewhere.accepted) == (1, 0)


@pytest.mark.parametrize(
    "behaviour",
    [
        saying(whole(b"\x1f\x8b", extra=b"content-encoding: gzip\r\n")),
        saying(whole(b"{}", extra=b"content-encoding: deflate\r\n")),
        saying(whole(b"{}", extra=b"Content-Encoding: identity, br\r\n")),
        up.answers_with_a_bomb,
    ],
    ids=["u24_gzip", "u26_not_even_deflate", "several", "u25_bomb"],
)
async def test_u24_compressed_answer_is_a_bad_upstream_and_never_inflated(rig, behaviour):
    await rig.serve(behaviour)
    with pytest.raises(BadUpstream):
        await rig.send()


async def test_u24_identity_is_no_compression(rig):
    await rig.serve(saying(whole(ANSWER, extra=b"content-encoding: identity\r\n")))
    assert await rig.exchange() == ANSWER


async def test_u27_cookie_of_an_endpoint_is_not_sent_back(rig):
    server = await rig.serve(saying(whole(ANSWER, extra=b"set-cookie: sid=A; path=/\r\n")))
    await rig.exchange()
    await rig.exchange()
    assert server.log.requests[1].header("cookie") == []


@pytest.mark.parametrize(
    "status",
    [
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "429 Too Many",
        "500 Oops",
        "503 Busy",
        "599 Odd",
    ],
)
async def test_u28_error_answers_come_as_they_are(rig, status):
    body = b'{"error": {"message": "no", "code": 1}}\n'
    await rig.serve(saying(whole(body, status.encode(), b"Retry-After: 5\r\n")))
    reply = await rig.send()
    assert reply.status == int(status[:3])
    assert reply.headers["retry-after"] == "5"
    assert await rig.whole(reply.body) == body


async def test_u35_body_that_is_not_json_is_not_the_transports_business(rig):
    await rig.serve(saying(OK + b"content-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"))
    assert await rig.exchange() == b"<html>"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answer_without_a_body_ends_at_once(rig, status):
    server = await rig.serve(saying(b"HTTP/1.1 %s\r\n\r\n" % status))
    for _ in range(2):
        reply = await rig.send()
        assert await rig.whole(reply.body) == b""
        assert reply.body.framed is True
    assert server.accepted == 1


async def test_headers_are_lower_case_joined_and_may_be_empty(rig):
    await rig.serve(saying(JSON + b"X-Empty:\r\nX-Two: a\r\nCONTENT-LENGTH: 2\r\nx-two: b\xe9\r\n\r\n{}"))
    reply = await rig.send()
    assert reply.headers["x-empty"] == ""
    assert reply.headers["x-two"] == "a, b\xe9"
    assert await rig.whole(reply.body) == b"{}"


async def test_trailers_are_nobodys_headers(rig):
    end = b"0\r\nAuthorization: Bearer z\r\n\r\n"
    server = await rig.serve(saying(SSE + chunk(EVENT) + end))
    for _ in range(2):
        reply = await rig.send()
        assert await rig.whole(reply.body) == EVENT
        assert "authorization" not in reply.headers
    assert server.accepted == 1


async def test_nothing_is_sent_but_what_was_asked_and_the_framing(rig):
    server = await rig.serve(up.answers)
    headers = (("content-type", "application/json"), ("authorization", "Bearer k"), ("x-request-id", "c1"))
    await rig.whole((await rig.send(body=b'{"a": 1}', headers=headers)).body)
    seen = server.log.requests[0]
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/chat/completions", b'{"a": 1}')
    host = server.url.removeprefix("http://")
    assert sorted(seen.headers) == sorted((*headers, ("host", host), ("content-length", "8")))


async def test_get_has_no_framing_and_an_empty_post_has_a_length(rig):
    server = await rig.serve(up.answers)
    await rig.whole((await rig.send("/health", method="GET", body=b"")).body)
    await rig.whole((await rig.send(body=b"")).body)
    assert [seen.header("content-length") for seen in server.log.requests] == [[], ["0"]]


async def test_large_request_arrives_whole(rig):
    server = await rig.serve(up.answers)
    body = os.urandom(8_000_000)
    assert await rig.whole((await rig.send(body=body)).body) == ANSWER
    assert server.log.requests[0].body == body


async def test_proxies_of_the_environment_are_not_obeyed(rig, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await rig.serve(up.answers)
    assert await rig.exchange() == ANSWER


async def test_http_1_0_answer_is_read_and_not_kept(rig):
    server = await rig.serve(up.saying_then_fin(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    assert await rig.exchange() == b"{}"
    assert await rig.exchange() == b"{}"
    assert server.accepted == 2


async def test_end_of_a_chunked_body_needs_no_end_of_the_connection(rig):
    await rig.serve(saying(SSE, END))
    assert await rig.exchange() == b""
