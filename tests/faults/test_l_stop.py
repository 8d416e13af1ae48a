"""The end of a gateway, by real signals to a real process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time

import pytest

from app.simulator import Simulator
from tests.faults.lives import code_of, life
from tests.house import calls, until
from tests.supervised import SOON

SLACK = 3.0
"""Seconds that a busy machine may take beyond what is promised; the figures are printed."""

TAIL = b"0\r\n\r\n"


def engine(**fields):
    return Simulator(**{"ttft": 0.01, "itl": 0.01} | fields)


async def eventually(ask, true):
    async with asyncio.timeout(SOON):
        while not true(await ask()):
            await asyncio.sleep(0.05)


async def test_l01_after_sigterm_streams_end_and_no_caller_is_ever_refused_a_connection(tmp_path):
    async with life(tmp_path, engine(itl=0.02), server={"lame_duck": 1, "drain": 30}) as subject:
        streams = [*await subject.begun("60 tokens", 20), *await subject.begun("150 tokens", 20)]
        told = subject.tell(signal.SIGTERM)
        while (await subject.get("/ready")).status == 200:
            pass
        unready = time.monotonic() - told
        served = await subject.ask()
        bodies = [asyncio.create_task(caller.reader.read(-1)) for caller in streams]
        refused = []
        while not all(body.done() for body in bodies):
            try:
                refused.append(await subject.ask())
            except (OSError, asyncio.IncompleteReadError):
                await until(lambda: all(body.done() for body in bodies), within=SLACK)
        assert await subject.ended() == 0
        print(f"unready after {unready:.3f} s, exit after {time.monotonic() - told:.1f} s")
        assert unready < 1
        assert (served.status, served.headers["connection"]) == (200, "close")
        late = [answer for answer in refused if answer.status != 200]
        assert len(late) >= 3
        assert {answer.status for answer in refused[len(refused) - len(late) :]} == {503}
        assert {
            (answer.code, answer.headers["retry-after"], answer.headers["connection"]) for answer in late
        } == {("shutting_down", "1", "close")}
        assert json.loads(late[0].body)["error"]["type"] == "server_error"
        assert all(body.result().endswith(b"data: [DONE]\n\n\r\n" + TAIL) for body in bodies)
        rows = await subject.rows()
        finished = len(streams) + 1 + len(refused) - len(late)
        assert [row.state for row in rows] == ["settled"] * finished
        truth = sum(record.generated for record in calls(*subject.engines))
        assert sum(row.completion_tokens for row in rows) == truth


async def test_l02_stuck_peers_do_not_outlast_the_drain(tmp_path):
    async with life(tmp_path, engine(itl=0), server={"drain": 1}) as subject:
        half = await subject.caller(subject.customer.request()[:-5])
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", subject.gateway.data))
        await loop.sock_sendall(sock, subject.customer.request("forever", stream=True))
        await until(lambda: calls(*subject.engines) and calls(*subject.engines)[0].sent > 100)
        told = subject.tell(signal.SIGTERM)
        assert await subject.ended() == 0
        took = time.monotonic() - told
        print(f"exit after {took:.1f} s with a drain of 1 s and 2 s for last words")
        assert took < 1 + 2 + SLACK
        sock.close()
        await half.closed()
        (row,) = await subject.rows()
        assert (row.state, row.error_code) == ("settled", "shutting_down")
        assert await subject.open_rows() == []


async def test_l03_streams_that_outlast_the_drain_are_told_so_and_billed(tmp_path):
    async with life(tmp_path, engine(), server={"drain": 1}) as subject:
        streams = await subject.begun("forever", 5)
        whole = await subject.caller(subject.customer.request("forever"))
        await until(lambda: len(calls(*subject.engines)) == 6)
        subject.tell(signal.SIGTERM)
        bodies = [await caller.reader.read(-1) for caller in streams]
        answer = await whole.answer()
        assert await subject.ended() == 0
        assert [code_of(body) for body in bodies] == ["shutting_down"] * 5
        assert not any(b"[DONE]" in body for body in bodies)
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "shutting_down", "1")
        rows = await subject.rows()
        assert [(row.state, row.error_code) for row in rows] == [("settled", "shutting_down")] * 6
        streamed = [row for row in rows if row.usage_source == "upstream"]
        assert len(streamed) == 5
        assert all(row.completion_tokens > 0 for row in streamed)
        assert await subject.open_rows() == []


@pytest.mark.parametrize(
    ("first", "second", "lame_duck"),
    [
        (signal.SIGTERM, signal.SIGTERM, 0),
        (signal.SIGTERM, signal.SIGINT, 0),
        (signal.SIGINT, signal.SIGINT, 600),
        (signal.SIGINT, signal.SIGTERM, 600),
    ],
    ids=["term, term", "term, int", "int, int in lame duck", "int, term in lame duck"],
)
async def test_l04_second_signal_ends_at_once_with_the_ledger_written(tmp_path, first, second, lame_duck):
    async with life(tmp_path, engine(), server={"lame_duck": lame_duck, "drain": 600}) as subject:
        streams = await subject.begun("forever", 10)
        subject.tell(first)
        async with asyncio.timeout(SOON):
            while (await subject.get("/ready")).status == 200:
                pass
        told = subject.tell(second)
        bodies = [await caller.reader.read(-1) for caller in streams]
        assert await subject.ended() == 0
        took = time.monotonic() - told
        print(f"exit {took:.2f} s after the second signal")
        assert took < 2 + SLACK
        assert [code_of(body) for body in bodies] == ["shutting_down"] * 10
        rows = await subject.rows()
        assert [(row.state, row.finish is None) for row in rows] == [("settled", False)] * 10
        assert await subject.open_rows() == []


async def test_l04_killed_gateway_finds_its_open_calls_at_the_next_start(tmp_path):
    async with life(tmp_path, engine()) as subject:
        await subject.begun("forever", 3)
        await eventually(
            subject.open_rows, lambda rows: [row.completion_tokens > 0 for row in rows] == [True] * 3
        )
        subject.tell(signal.SIGKILL)
        assert await subject.ended() == -signal.SIGKILL
        sent = {record.request_id: record.generated for record in calls(*subject.engines)}
    async with life(tmp_path, engine()) as subject:
        await eventually(subject.open_rows, lambda rows: not rows)
        rows = await subject.rows()
        assert [row.finish for row in rows] == ["crashed"] * 3
        assert all(0 < row.completion_tokens <= sent[row.call_id] for row in rows)
