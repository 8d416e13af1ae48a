"""Requests that are odd, old or wrong: each has one answer, in the contract's shape."""

from __future__ import annotations

import gzip
import json

import pytest

from app.simulator import Simulator
from app.wire.surfaces import SURFACES
from tests.house import calls, chat, running
from tests.rawcaller import post

PATH = "/v1/chat/completions"
JSON = "Content-Type: application/json"
TRAP = "a prompt that nobody may repeat"


def bearer(gateway):
    return f"Authorization: Bearer {gateway.key}"


async def asked(gateway, request):
    caller = await gateway.caller()
    caller.say(request)
    return await caller.answer()


async def unbilled(gateway):
    assert calls(*gateway.simulators) == []
    assert await gateway.rows() == []


def in_shape(answer, status, code):
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert error.keys() == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert TRAP.encode() not in answer.body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("headers", [(), ("Connection: keep-alive",)], ids=["bare", "keep-alive"])
async def test_c14_http_1_0_is_served_without_chunks_to_the_end_of_the_connection(stream, headers):
    async with running([Simulator(ttft=0.001, itl=0.001)]) as gateway:
        body = json.dumps(chat("20 tokens", stream=stream)).encode()
        request = post(PATH, body, bearer(gateway), JSON, *headers).replace(b"HTTP/1.1", b"HTTP/1.0")
        caller = await gateway.caller()
        caller.say(request)
        answer = await caller.answer()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"
        assert await caller.closed() == b""
        if stream:
            assert answer.body.endswith(b"data: [DONE]\n\n")
            assert answer.body.startswith(b"data: ")
        else:
            assert json.loads(answer.body)["usage"]["completion_tokens"] == 20
        assert (await gateway.row()).completion_tokens == 20


async def test_c15_body_is_never_asked_of_a_caller_with_a_bad_key():
    async with running([Simulator()]) as gateway:
        head = post(PATH, b"x" * 100, "Authorization: Bearer sk-nobody", JSON, "Expect: 100-continue")[:-100]
        in_shape(await asked(gateway, head), 401, "invalid_api_key")
        await unbilled(gateway)


async def test_c15_too_large_a_body_is_never_asked_for():
    async with running([Simulator()], server={"max_body": 1000}) as gateway:
        head = post(PATH, b"x" * 1001, bearer(gateway), JSON, "Expect: 100-continue")[:-1001]
        in_shape(await asked(gateway, head), 413, "request_too_large")
        await unbilled(gateway)


async def test_c15_wrong_media_type_is_told_without_100():
    async with running([Simulator()]) as gateway:
        head = post(PATH, b"x" * 100, bearer(gateway), "Content-Type: text/plain", "Expect: 100-continue")[
            :-100
        ]
        in_shape(await asked(gateway, head), 415, "unsupported_media_type")
        await unbilled(gateway)


async def test_c15_good_caller_is_asked_for_its_body_and_served():
    async with running([Simulator()]) as gateway:
        body = json.dumps(chat("short")).encode()
        caller = await gateway.caller()
        caller.say(post(PATH, body, bearer(gateway), JSON, "Expect: 100-continue")[: -len(body)])
        assert (await caller.answer()).status == 100
        caller.say(body)
        assert (await caller.answer()).status == 200
        assert len(await gateway.rows()) == 1


async def test_c16_other_expectations_are_ignored():
    async with running([Simulator()]) as gateway:
        body = json.dumps(chat("short")).encode()
        answer = await asked(gateway, post(PATH, body, bearer(gateway), JSON, "Expect: foo"))
        assert answer.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
async def test_c21_compressed_bodies_are_refused_and_never_inflated(encoding):
    bomb = gzip.compress(b"[" * 10_000_000)
    async with running([Simulator()]) as gateway:
        request = post(PATH, bomb, bearer(gateway), JSON, f"Content-Encoding: {encoding}")
        in_shape(await asked(gateway, request), 415, "unsupported_media_type")
        await unbilled(gateway)


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("", 415),
        (None, 415),
    ],
)
async def test_c22_only_json_is_read_as_json(media, status):
    async with running([Simulator()]) as gateway:
        body = json.dumps(chat(f"short {TRAP}")).encode()
        headers = [bearer(gateway)] + ([] if media is None else [f"Content-Type: {media}"])
        answer = await asked(gateway, post(PATH, body, *headers))
        if status == 200:
            assert answer.status == 200
        else:
            in_shape(answer, 415, "unsupported_media_type")
            await unbilled(gateway)


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH"])
async def test_c23_other_methods_are_405_with_what_is_allowed(method):
    async with running([Simulator()]) as gateway:
        for path in SURFACES:
            caller = await gateway.caller()
            caller.say(
                f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n{bearer(gateway)}\r\nX-Trap: {TRAP}\r\n\r\n".encode()
            )
            answer = await caller.answer()
            in_shape(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == "POST"
        await unbilled(gateway)


async def test_c23_head_is_405_without_a_body():
    async with running([Simulator()]) as gateway:
        caller = await gateway.caller()
        caller.say(f"HEAD {PATH} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
        head = await caller.closed()
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"allow: POST\r\n" in head.lower().replace(b"post", b"POST")
        assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "path", [f"{PATH}/", "/v1//chat/completions", "/V1/chat/completions", "/v1/models/", "/"]
)
async def test_c24_no_path_is_redirected(method, path):
    async with running([Simulator()]) as gateway:
        caller = await gateway.caller()
        caller.say(
            f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\n{bearer(gateway)}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        answer = await caller.answer()
        assert answer.status in {404, 405}
        assert json.loads(answer.body)["error"]["code"] in {
            "not_found",
            "method_not_allowed",
            "model_not_found",
        }
        assert "location" not in answer.headers
        assert b"evil" not in answer.body
        await unbilled(gateway)
