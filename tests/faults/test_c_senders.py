"""Callers that say too little, too slowly, or too much, before the whole gateway."""

from __future__ import annotations

import asyncio
import json
import resource
import time

import pytest

from app.simulator import Simulator
from tests.house import SOON, calls, chat, running, until
from tests.rawcaller import post, post_chunked

PATH = "/v1/chat/completions"

SLACK = 0.3
"""Seconds that a busy machine may take beyond what is promised; the figures are printed."""


async def nothing_came_of_it(gateway):
    """No engine heard of it, no row is in the ledger."""
    assert calls(*gateway.simulators) == []
    assert await gateway.rows() == []


def signed(gateway, *headers):
    return (f"Authorization: Bearer {gateway.key}", "Content-Type: application/json", *headers)


async def test_c09_head_that_drips_is_closed_in_its_time():
    async with running([Simulator()], server={"header_timeout": 1}) as gateway:
        caller = await gateway.caller()
        began = time.monotonic()
        closed = asyncio.create_task(caller.closed())
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n" * 100:
            caller.say(bytes([byte]))
            await asyncio.sleep(0.02)
            if closed.done():
                break
        took = time.monotonic() - began
        assert await closed == b""
        print(f"closed after {took:.2f} s of 1 s")
        assert 0.9 < took < 3
        await nothing_came_of_it(gateway)


async def test_c10_body_that_does_not_come_takes_no_place_and_is_408():
    slots = {"bulkhead": {"max_concurrent_calls": 1}}
    async with running([Simulator()], server={"body_timeout": 1}, resilience=slots) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request()[:-20])
        await until(lambda: gateway.data.tasks)
        assert (await gateway.ask("short")).status_code == 200
        answer = await caller.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["connection"] == "close"
        assert await caller.closed() == b""
        assert len(calls(*gateway.simulators)) == len(await gateway.rows()) == 1


@pytest.mark.parametrize(("number", "seconds"), [(300, 2), pytest.param(5000, 30, marks=pytest.mark.long)])
async def test_c11_silent_connections_keep_nobody_waiting_and_are_closed(number, seconds):
    """As far as there may be so many descriptors, of which each needs two here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12_000), hard))
    number = min(number, (min(hard, 12_000) - 500) // 2)
    try:
        async with running([Simulator(ttft=0, itl=0)], server={"header_timeout": seconds}) as gateway:
            silent = [await gateway.caller() for _ in range(number)]
            await until(lambda: len(gateway.data.connections) == number)
            took = []
            for _ in range(10):
                began = time.monotonic()
                caller = await gateway.caller()
                caller.say(gateway.request("short"))
                assert (await caller.answer()).status == 200
                took.append(time.monotonic() - began)
                caller.hang_up()
            median = sorted(took)[len(took) // 2]
            print(
                f"{number} silent connections; new callers served in {median * 1000:.0f} ms, worst {max(took):.2f} s"
            )
            assert median < 0.2 + SLACK
            await until(lambda: not gateway.data.connections, within=2 * SOON)
            assert [await caller.closed() for caller in silent] == [b""] * number
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_c12_idle_connections_are_no_reason_to_refuse_anybody():
    async with running([Simulator(ttft=0, itl=0)]) as gateway:
        idle = [await gateway.caller() for _ in range(200)]
        for caller in idle:
            caller.say(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert {(await caller.answer()).status for caller in idle} == {200}
        assert len(gateway.data.connections) == 200
        for caller in idle[:20]:
            caller.say(gateway.request("short"))
            assert (await caller.answer()).status == 200


async def test_c17_body_in_chunks_of_one_byte_is_served_and_its_limit_counts_decoded_bytes():
    body = json.dumps(chat("short")).encode()
    async with running([Simulator()], server={"max_body": len(body)}) as gateway:
        for extra, status in ((b"", 200), (b" ", 413)):
            whole = [bytes([byte]) for byte in body + extra]
            head, _, rest = post_chunked(PATH, *whole).partition(b"\r\n\r\n")
            lines = b"".join(line.encode() + b"\r\n" for line in signed(gateway))
            caller = await gateway.caller()
            caller.say(head + b"\r\n" + lines + b"\r\n" + rest)
            assert (await caller.answer()).status == status
        assert len(calls(*gateway.simulators)) == 1


async def test_c18_announced_excess_is_refused_before_it_is_sent():
    async with running([Simulator()], server={"max_body": 1000}) as gateway:
        caller = await gateway.caller()
        began = time.monotonic()
        caller.say(post(PATH, b"x" * 1001, *signed(gateway))[:-1001])
        answer = await caller.answer()
        took = time.monotonic() - began
        print(f"refused after {took * 1000:.1f} ms")
        assert (answer.status, answer.code, answer.headers["connection"]) == (
            413,
            "request_too_large",
            "close",
        )
        assert took < 1
        assert await caller.closed() == b""
        await nothing_came_of_it(gateway)


async def test_c19_excess_that_nobody_announced_is_refused_where_the_limit_is_crossed():
    limit, piece = 2**20, b"x" * 2**16
    async with running([Simulator()], server={"max_body": limit}) as gateway:
        caller = await gateway.caller()
        lines = "".join(f"{line}\r\n" for line in signed(gateway, "Transfer-Encoding: chunked"))
        caller.say(f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n".encode())
        answer = asyncio.create_task(caller.answer())
        sent = 0
        async with asyncio.timeout(SOON):
            while not answer.done() and sent < 100 * limit:
                caller.say(b"%x\r\n%s\r\n" % (len(piece), piece))
                sent += len(piece)
                await caller.writer.drain()
                await asyncio.sleep(0)
        print(f"refused after {sent / limit:.2f} times the limit")
        assert (await answer).code == "request_too_large"
        assert sent < 16 * limit
        await nothing_came_of_it(gateway)


@pytest.mark.parametrize("excess", [b"x" * 20, b'{"model": "tiny"}\r\n', b"\x00\x01"])
async def test_c20_bytes_beyond_the_length_are_a_request_of_their_own_which_is_none(excess):
    async with running([Simulator()]) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request("short"))
        assert (await caller.answer()).status == 200
        caller.say(excess + b"\r\n\r\n")
        answer = await caller.answer()
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert b"tiny" not in answer.body
        assert await caller.closed() == b""
        assert len(calls(*gateway.simulators)) == len(await gateway.rows()) == 1


async def test_c20_length_that_is_too_short_never_takes_the_rest_along():
    async with running([Simulator()]) as gateway:
        caller = await gateway.caller()
        body = json.dumps(chat("short")).encode()
        request = post(PATH, body, *signed(gateway)).replace(
            b"Content-Length: %d" % len(body), b"Content-Length: 5"
        )
        caller.say(request)
        answer = await caller.answer()
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert await caller.closed() == b""
        await nothing_came_of_it(gateway)
