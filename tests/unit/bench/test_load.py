"""Upstream and callers against each other: what one says it sent, the other says it saw."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest

from bench import relay, upstream
from bench.answers import COMPLETION, STREAM_HEAD, content, ending, opening
from bench.callers import Caller, Seen
from bench.load import arguments, measure, request


async def emptied(open_ones) -> None:
    """Both ends of a connection are in this process: it is gone once the accepting one knows."""
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
        while open_ones():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def endpoints(count: int = 1, interval: float = 0.0, step: bool = False):
    served = await upstream.serve(count, interval, step)
    try:
        yield served.ports, served.stats
    finally:
        for server in served.servers:
            server.close()
        await emptied(lambda: served.stats["open"])


class Saying(asyncio.Protocol):
    """Answers whatever comes with the same."""

    def __init__(self, answer: bytes, then_close: bool, open_ones: set) -> None:
        self._answer, self._then_close, self._open = answer, then_close, open_ones

    def connection_made(self, transport):
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc):
        self._open.discard(self)

    def data_received(self, data):
        self._transport.write(self._answer)
        if self._then_close:
            self._transport.close()


@asynccontextmanager
async def saying(answer: bytes, then_close: bool = False):
    loop, open_ones = asyncio.get_running_loop(), set()
    server = await loop.create_server(lambda: Saying(answer, then_close, open_ones), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await emptied(lambda: open_ones)


async def loaded(port: int, *words: str):
    usual = ["--port", str(port), "--connections", "4", "--seconds", "0.15", "--entire", "--tokens", "8"]
    return await asyncio.wait_for(measure(arguments([*usual, *words]), ["key"]), 10)


async def test_every_json_answer_is_counted_once():
    async with endpoints() as ((port,), stats):
        found = await loaded(port)
    assert found["requests"] > 4
    assert (found["errors"], found["short"], found["events"], found["open"]) == (0, 0, 0, 4)
    assert (stats["connections"], stats["requests"], stats["events"]) == (4, found["requests"], 0)
    assert found["requests_per_second"] == pytest.approx(found["requests"] / found["seconds"])
    assert 0 < found["whole_p50"] <= found["whole_p99"] <= found["whole_max"] < 1


@pytest.mark.parametrize(("interval", "step"), [(0.0, False), (0.002, False), (0.002, True)])
async def test_every_event_is_counted_once(interval, step):
    async with endpoints(interval=interval, step=step) as ((port,), stats):
        found = await loaded(port, "--stream", "--stamped")
    assert (found["errors"], found["short"]) == (0, 0)
    assert stats["events"] == found["events"]
    # The first streams of the four have 1, 3, 5 and 7 events, all others 8.
    assert found["events"] == 8 * (found["requests"] - 4) + 16
    assert 0 < found["first_p50"] <= found["first_p99"] < 1
    assert 0 < found["relayed_p50"] <= found["relayed_p99"] < 1


@pytest.mark.parametrize("words", [(), ("--stream",), ("--body", "200000")])
async def test_the_relay_hands_everything_on(words):
    async with endpoints(2, 0.001) as (ports, stats):
        pool = relay.Pool(ports)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: relay.Front(pool), "127.0.0.1", 0)
        found = await loaded(server.sockets[0].getsockname()[1], *words)
        server.close()
        for behind in pool.idle:
            behind.transport.close()
    assert found["requests"] > 4
    assert (found["errors"], found["short"]) == (0, 0)
    assert (stats["connections"], stats["requests"]) == (4, found["requests"])


async def test_the_upstream_answers_probes_and_tells_what_it_counted():
    async with endpoints() as ((port,), _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path, word in (("/v1/models", b"qwen3-8b"), ("/health", b"{}"), ("/stats", b'"requests":3')):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            assert word in await reader.read(65536)
        writer.close()


async def test_a_stream_without_done_is_short():
    whole = STREAM_HEAD + opening(False) + ending(1)
    async with saying(whole.replace(b"[DONE]", b"[GONE]")) as port:
        found = await loaded(port, "--stream")
    assert found["short"] > 4
    assert (found["requests"], found["errors"]) == (0, 0)


async def test_a_refusal_is_an_error_by_its_status():
    async with saying(COMPLETION.replace(b"200 OK", b"503 No")) as port:
        found = await loaded(port)
    assert found["requests"] == 0
    assert found["kinds"] == {"503": found["errors"]}
    assert found["errors"] > 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(STREAM_HEAD + opening(False), "lost"), (COMPLETION.replace(b"200 OK", b"503 No"), "503")],
)
async def test_who_loses_the_connection_counts_it_and_opens_another(answer, kind):
    async with saying(answer, then_close=True) as port:
        found = await loaded(port, "--stream")
    assert found["kinds"] == {kind: found["errors"]}
    assert found["errors"] > 4


@pytest.mark.parametrize("size", [1, 7, 24, 1000])
async def test_an_event_counts_once_however_it_is_cut(size):
    before, after = content(3)
    stream = STREAM_HEAD + opening(True) + 3 * (before + b"0" * 16 + after) + ending(3)
    seen, transport = Seen(stamped=True), Mock()
    transport.is_closing.return_value = False
    calls = iter([b"call"])
    caller = Caller(seen, lambda: next(calls, None))
    caller.connection_made(transport)
    for begin in range(0, len(stream), size):
        caller.data_received(stream[begin : begin + size])
    assert (seen.answers, seen.events, seen.short, len(seen.first)) == (1, 3, 0, 1)


async def test_an_upstream_that_is_told_to_wait_for_ever_tells_the_first_token_alone():
    async with endpoints(interval=math.inf) as ((port,), _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("key", stream=True, tokens=8, size=512))
        assert b'"role":"assistant"' in await reader.readuntil(b"\n\n\r\n")
        assert b'"content":"~T' in await reader.readuntil(b"\n\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        writer.close()


def test_a_request_is_as_long_as_was_asked():
    body = request("key", stream=True, tokens=8, size=2048).partition(b"\r\n\r\n")[2]
    assert 2040 <= len(body) <= 2048
