from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import Line, ask, chat, get, post, until


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.001, itl=0.001) as simulator:
        yield simulator


async def test_one_connection_serves_many_requests(sim):
    async with await Line.to(sim) as line:
        assert [(await line.ask(post(chat("short")))).status for _ in range(3)] == [200] * 3
    assert sim.truth.counters.connections_accepted == 1


async def test_an_idle_connection_is_closed_in_time(sim):
    sim.adjust(keep_alive=0.05)
    async with await Line.to(sim) as line:
        await line.ask(get("/version"))
        before = time.monotonic()
        assert await line.reader.read() == b""
        assert 0.04 < time.monotonic() - before < 1


async def test_a_connection_that_never_spoke_is_left_alone(sim):
    sim.adjust(keep_alive=0.02)
    async with await Line.to(sim) as line:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.reader.read(1), 0.08)


async def test_a_new_request_stops_the_clock_of_an_idle_connection(sim):
    sim.adjust(keep_alive=0.04, ttft=0.1)
    async with await Line.to(sim) as line:
        await line.ask(get("/version"))
        assert (await line.ask(post(chat("short")))).status == 200


async def test_pipelined_requests_are_answered_in_order(sim):
    async with await Line.to(sim) as line:
        line.send(post(chat("short")) + get("/version") + post(chat("short", stream=True)) + get("/health"))
        heard = [await line.hear() for _ in range(4)]
    assert [answer.status for answer in heard] == [200] * 4
    assert heard[1].json() == {"version": "0.32.0"}
    assert heard[2].done


async def test_what_is_no_http_is_refused(sim):
    heard = await ask(sim, b"NONSENSE\r\n\r\n")
    assert (heard.status, heard.body) == (400, b"Invalid HTTP request received.")
    assert (heard.header("content-type"), heard.header("connection")) == (
        "text/plain; charset=utf-8",
        "close",
    )


async def test_http_1_0_is_answered_in_chunks_and_closed(sim):
    raw = post(chat("short", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with await Line.to(sim) as line:
        heard = await line.ask(raw)
        assert (heard.header("connection"), heard.done, heard.complete) == ("close", True, True)
        assert await line.reader.read() == b""


async def test_a_chunked_body_is_read(sim):
    body = b'{"messages":[{"role":"user","content":"short"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    heard = await ask(sim, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert heard.json()["choices"][0]["message"]["content"] == "OK."


async def test_a_body_that_never_ends_is_waited_for(sim):
    async with await Line.to(sim) as line:
        line.send(post(chat("short"))[:-1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.reader.read(1), 0.05)
        line.send(b"}")
        assert (await line.hear()).status == 200


async def test_an_upgrade_is_not_taken(sim):
    raw = get("/version", Connection="Upgrade", Upgrade="websocket")
    assert (await ask(sim, raw)).status == 200


async def test_big_headers_and_bodies_are_taken(sim):
    assert (await ask(sim, get("/version", x_big="y" * 50_000))).status == 200
    heard = await ask(sim, post(chat("x" * 3_000_000)))
    assert heard.status == 400
    assert "contains 3000000 characters" in heard.json()["error"]["message"]


@pytest.mark.parametrize("how", ["fin", "half", "rst"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_its_generation_at_once(sim, how, stream):
    sim.adjust(itl=0.005)
    async with await Line.to(sim) as line:
        line.send(post(chat("forever", stream=stream)))
        await until(lambda: sim.truth.records and sim.truth.last.generated > 2)
        if how == "half":
            line.half_close()
        elif how == "rst":
            line.writer.transport.abort()
        else:
            line.writer.close()
        took = await until(lambda: sim.truth.last.aborted)
        made = sim.truth.last.generated
        await asyncio.sleep(0.02)
        assert took < 0.03
        assert sim.truth.last.generated == made
        assert (sim.truth.last.finish, sim.truth.counters.aborts, sim.idle) == (["gone"], 1, True)


async def test_a_half_closed_stream_is_cut_without_an_end(sim):
    sim.adjust(itl=0.005)
    async with await Line.to(sim) as line:
        line.send(post(chat("forever", stream=True)))
        await line.head()
        await line.events(3)
        line.half_close()
        assert not (await line.reader.read()).endswith(b"0\r\n\r\n")


@asynccontextmanager
async def narrow(sim):
    """A line that does not read, with little room for what it has not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", sim.port))
    async with Line(*await asyncio.open_connection(sock=sock, limit=2**27)) as line:
        line.writer.transport.pause_reading()
        yield line


LARGE = chat("forever", stream=True, max_tokens=5000, sim_fault={"fault": "wrong_model", "body": "x" * 4000})
"""5000 events of 4 KB."""


async def test_a_client_that_does_not_read_gets_its_tokens_merged(sim):
    sim.adjust(ttft=0.0, itl=0.0)
    async with narrow(sim) as line:
        line.send(post(LARGE))
        await until(
            lambda: sim.truth.records and sim.truth.last.generated > sim.truth.last.sent + 10, seconds=20
        )
        line.writer.transport.resume_reading()
        heard = await asyncio.wait_for(line.hear(), 20)
    assert heard.done
    assert heard.text == "and on" * 2500
    assert len(heard.data) < 5000
    assert sim.truth.last.sent == 5000


async def test_a_client_that_does_not_read_can_be_reset(sim):
    sim.adjust(ttft=0.0, itl=0.0)
    async with narrow(sim) as line:
        line.send(
            post(chat("forever", stream=True, logprobs=True, top_logprobs=20), x_sim_fault="rst;after=3000")
        )
        await until(lambda: sim.truth.records and sim.truth.last.ended, seconds=20)
        await until(lambda: sim.truth.counters.connections_open == 0)
        line.writer.transport.resume_reading()
        assert (await line.hear()).error in ("reset", "cut")


async def test_thousands_of_pipelined_requests_do_not_deepen_the_stack(sim):
    async with await Line.to(sim) as line:
        line.send(post(chat("short")) + get("/version") * 2000)
        heard = [await line.hear() for _ in range(2001)]
    assert {answer.status for answer in heard} == {200}
