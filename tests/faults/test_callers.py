"""Callers that are slow, silent, gone, greedy or malformed, before a bare application."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.rawcaller import Application, house, post, post_chunked


@pytest.fixture
def app():
    return Application()


async def test_c01_c02_hang_up_in_a_stream_is_heard_once_and_at_once(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        caller.hang_up()
        await app.left.wait()
    assert app.hang_ups == 1


async def test_c04_hang_up_during_upload_ends_the_reading(app):
    async with house(app) as subject:
        caller = await subject.call(post("/", b"x" * 100)[:-50])
        while not app.scopes:
            await asyncio.sleep(0)
        caller.hang_up()
        await app.left.wait()
    assert app.bodies == []


async def test_c06_half_close_counts_as_hang_up(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        caller.writer.write_eof()
        await app.left.wait()
    assert app.hang_ups == 1


async def test_c07_caller_that_never_reads_is_cut_off():
    gone = asyncio.Event()

    async def flood(scope, receive, send):
        scope["extensions"]["sluice"].on_hang_up(gone.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)

    async with house(flood, write_stall=0.3) as subject:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", subject.listener.port))
        await asyncio.get_running_loop().sock_sendall(sock, post())
        await asyncio.wait_for(gone.wait(), 10)
        sock.close()


async def test_c07_complete_answer_that_is_never_read_holds_no_connection():
    async def large(scope, receive, send):
        scope["extensions"]["sluice"].close()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 20_000_000})

    async with house(large, write_stall=0.3) as subject:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", subject.listener.port))
        await asyncio.get_running_loop().sock_sendall(sock, post())
        async with asyncio.timeout(10):
            while not subject.listener.connections:
                await asyncio.sleep(0)
            while subject.listener.connections:
                await asyncio.sleep(0.01)
        sock.close()


async def test_c08_caller_that_reads_slowly_is_served_to_the_end():
    async def flood(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with house(flood, write_stall=0.5) as subject:
        caller = await subject.call(post())
        assert len((await caller.answer()).body) == 10_000_000


async def test_c09_slow_head_is_closed(app):
    async with house(app, header_timeout=0.2) as subject:
        caller = await subject.call(b"POST / HTTP/1.1\r\nHost: g")
        assert await caller.closed() == b""
    assert app.scopes == []


async def test_c09_dripping_does_not_extend_the_time_for_the_head(app):
    async with house(app, header_timeout=0.3) as subject:
        caller = await subject.call(b"POST / HTTP/1.1\r\n")

        async def drip():
            while True:
                caller.say(b"a: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        await caller.closed()
        dripping.cancel()


async def test_c09_slow_second_head_is_closed(app):
    async with house(app, header_timeout=0.2) as subject:
        caller = await subject.call(post())
        assert (await caller.answer()).status == 200
        caller.say(b"POST / HT")
        assert await caller.closed() == b""


async def test_c10_slow_body_is_408_and_not_to_be_retried(app):
    async with house(app, body_timeout=0.2) as subject:
        caller = await subject.call(post("/", b"x" * 100)[:-97])
        answer = await caller.answer()
        await caller.closed()
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["connection"] == "close"
    assert app.left.is_set()
    assert [error.status for error in subject.refused] == [408]


async def test_c11_silent_connections_are_closed_and_others_served(app):
    async with house(app, header_timeout=0.3) as subject:
        silent = [await subject.call() for _ in range(50)]
        assert (await (await subject.call(post())).answer()).status == 200
        for caller in silent:
            await caller.closed()


async def test_idle_connection_outlives_the_time_for_a_head(app):
    async with house(app, header_timeout=0.1) as subject:
        caller = await subject.call(post("/", b"one"))
        await caller.answer()
        await (await subject.call()).closed()
        caller.say(post("/", b"two"))
        assert (await caller.answer()).body == b"two"


async def test_c13_pipelined_request_is_not_served_beside_the_first(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream") + post("/", b"second"))
        await app.started.wait()
        app.go_on.set()
        answer = await caller.answer()
        assert await caller.closed() == b""
    assert answer.body == b"onetwo"
    assert len(app.scopes) == 1


async def test_c13_hang_up_is_heard_although_a_second_request_waits(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        caller.say(post())
        caller.say(b"more of it")
        caller.hang_up()
        await app.left.wait()
    assert app.hang_ups == 1


async def test_garbage_behind_a_request_does_not_disturb_its_answer(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        caller.say(b"\x00\x01\x02")
        await asyncio.sleep(0.01)
        app.go_on.set()
        assert (await caller.answer()).body == b"onetwo"
        await caller.closed()
    assert app.hang_ups == 0


async def test_body_that_nobody_wanted_is_dropped_and_the_connection_kept(app):
    async with house(app) as subject:
        caller = await subject.call(post("/unread", b"x" * 100)[:-50])
        assert (await caller.answer()).status == 401
        caller.say(b"x" * 50)
        caller.say(post("/", b"next"))
        assert (await caller.answer()).body == b"next"


@pytest.mark.parametrize("rest", [b"zz\r\n", b"%x\r\n" % 2**30 + b"x" * 200])
async def test_faulty_rest_of_a_body_that_nobody_wanted_closes(app, rest):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post_chunked("/unread", b"x", end=b""))
        assert (await caller.answer()).status == 401
        caller.say(rest)
        assert await caller.closed() == b""
    assert subject.refused == []


async def test_rest_of_a_body_that_nobody_wanted_has_its_deadline_too(app):
    async with house(app, body_timeout=0.2) as subject:
        caller = await subject.call(post("/unread", b"x" * 100)[:-50])
        assert (await caller.answer()).status == 401
        assert await caller.closed() == b""


async def test_c14_http_1_0_gets_no_chunks(app):
    async with house(app) as subject:
        app.go_on.set()
        caller = await subject.call(b"POST /stream HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        answer = await caller.answer()
    assert answer.body == b"onetwo"
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["connection"] == "close"


async def test_c15_refusal_comes_without_100(app):
    async with house(app) as subject:
        caller = await subject.call(post("/unread", b"x" * 10, "Expect: 100-continue")[:-10])
        assert (await caller.answer()).status == 401


async def test_c15_100_comes_when_the_body_is_wanted(app):
    async with house(app) as subject:
        caller = await subject.call(post("/", b"x" * 10, "Expect: 100-continue")[:-10])
        assert (await caller.answer()).status == 100
        caller.say(b"y" * 10)
        assert (await caller.answer()).body == b"y" * 10


async def test_c15_too_large_a_body_is_never_asked_for(app):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post("/", b"x" * 101, "Expect: 100-continue")[:-101])
        assert (await caller.answer()).status == 413


async def test_c17_chunked_upload_is_counted_decoded(app):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post_chunked("/", *[b"x"] * 100))
        assert (await caller.answer()).body == b"x" * 100


async def test_c18_oversized_length_is_413_before_the_body_is_read(app):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post("/", b"x" * 101)[:-101])
        answer = await caller.answer()
        assert await caller.closed() == b""
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert app.scopes == []


async def test_c18_caller_that_goes_on_sending_still_reads_the_refusal(app):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post("/", b"x" * 5_000_000))
        assert (await caller.answer()).status == 413


async def test_c19_oversized_chunked_body_is_413_when_the_limit_is_crossed(app):
    async with house(app, max_body=100) as subject:
        caller = await subject.call(post_chunked("/", b"x" * 60, b"x" * 41, end=b""))
        answer = await caller.answer()
        await caller.closed()
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert app.bodies == []


async def test_c20_excess_bytes_are_no_part_of_the_request(app):
    async with house(app) as subject:
        caller = await subject.call(post("/", b"12345"))
        assert (await caller.answer()).body == b"12345"
        caller.say(b"x" * 20 + b"\r\n\r\n")
        answer = await caller.answer()
        await caller.closed()
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert len(app.scopes) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\nHost: a\n\n",
        b"POST / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"POST / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"FOOBAR / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT internal:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_h01_to_h21_malformed_requests_are_400_in_our_shape_and_close(app, request_bytes):
    async with house(app) as subject:
        caller = await subject.call(request_bytes)
        answer = await caller.answer()
        assert await caller.closed() == b""
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert app.scopes == []


@pytest.mark.parametrize("size", [b"xyz", b"-1", b"fffffffffffffffff"])
async def test_h05_malformed_chunk_is_400(app, size):
    async with house(app) as subject:
        caller = await subject.call(post_chunked("/", b"abc", end=size + b"\r\n"))
        assert (await caller.answer()).status == 400
    assert app.left.is_set()


async def test_h06_trailers_never_become_headers(app):
    async with house(app) as subject:
        caller = await subject.call(post_chunked("/", b"abc", end=b"0\r\nAuthorization: Bearer z\r\n\r\n"))
        assert (await caller.answer()).body == b"abc"
    assert b"authorization" not in dict(app.scopes[0]["headers"])


async def test_h06_trailers_reach_no_later_request_and_take_no_room(app):
    trailer = b"Authorization: Bearer z\r\n"
    async with house(app) as subject:
        caller = await subject.call(post_chunked("/", b"abc", end=b"0\r\n" + trailer))
        while not app.scopes:
            await asyncio.sleep(0)
        (connection,) = subject.listener.connections
        for _ in range(100):
            caller.writer.write(trailer * 100)
            await caller.writer.drain()
            await asyncio.sleep(0)
        assert len(connection._fields) < 10_000
        caller.writer.write(b"\r\n")
        assert (await caller.answer()).body == b"abc"
        caller.writer.write(post())
        assert (await caller.answer()).status == 200
    assert not any(b"authorization" in dict(scope["headers"]) for scope in app.scopes)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\n" + b"a: " + b"b" * 33_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"a: " + b"b" * 70_000,
        b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
        b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_h07_large_heads_are_431(app, head):
    async with house(app) as subject:
        caller = await subject.call(head)
        answer = await caller.answer()
        await caller.closed()
    assert (answer.status, answer.code) == (431, "headers_too_large")
    assert app.scopes == []


async def test_h07_a_large_body_does_not_count_as_head(app):
    async with house(app) as subject:
        caller = await subject.call(post("/", b"x" * 200_000))
        assert len((await caller.answer()).body) == 200_000


async def test_h09_only_the_path_of_an_absolute_target_counts(app):
    async with house(app) as subject:
        caller = await subject.call(
            b"POST http://evil/p%41th?q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        )
        await caller.answer()
    scope = app.scopes[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/pAth", b"/p%41th", b"q")


async def test_h14_forwarded_address_counts_from_trusted_proxies_only(app):
    request = post("/", b"", "X-Forwarded-For: 6.6.6.6, 203.0.113.9")
    async with house(app) as untrusting, house(app, trusted_proxies=["127.0.0.0/8"]) as trusting:
        await (await untrusting.call(request)).answer()
        await (await trusting.call(request)).answer()
    assert [scope["client"][0] for scope in app.scopes] == ["127.0.0.1", "203.0.113.9"]
    assert {scope["extensions"]["sluice"].peer[0] for scope in app.scopes} == {"127.0.0.1"}


async def test_h17_refusals_echo_only_a_clean_request_id(app):
    async with house(app, max_body=1) as subject:
        clean = await subject.call(post("/", b"xx", "x-request-id: abc-1"))
        dirty = await subject.call(post("/", b"xx", "x-request-id: a b"))
        assert (await clean.answer()).headers["x-request-id"] == "abc-1"
        assert (await dirty.answer()).headers["x-request-id"] not in ("a b", "")


async def test_h24_upgrade_is_declined_and_the_request_served(app):
    async with house(app) as subject:
        caller = await subject.call(post("/", b"abc", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
        assert (await caller.answer()).body == b"abc"
        caller.say(post("/", b"next"))
        assert (await caller.answer()).body == b"next"


async def test_h24_upgrade_split_over_reads_is_declined_too(app):
    async with house(app) as subject:
        caller = await subject.call()
        for byte in post("/", b"abc", "Connection: Upgrade", "Upgrade: websocket"):
            caller.say(bytes([byte]))
            await asyncio.sleep(0)
        assert (await caller.answer()).body == b"abc"
