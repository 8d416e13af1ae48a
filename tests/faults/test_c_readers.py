"""Callers that do not read, or read slowly: they cost neither memory nor anybody else's time."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import pytest

from app.simulator import Simulator
from tests.house import PATIENT, SOON, calls, running, until

FLOOD = {"ttft": 0.001, "itl": 0.0005, "max_model_len": 10**6}
SMALL = 8192
"""Bytes in the kernel for each side of a connection, so that little has to be sent to nobody."""

PAUSED = 64 * 1024
"""Bytes beyond which the gateway waits before it writes more."""


@asynccontextmanager
async def unread(gateway, number=1):
    """Callers that have asked for a stream without end."""
    loop = asyncio.get_running_loop()
    socks = []
    try:
        for _ in range(number):
            sock = socket.socket()
            socks.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", gateway.data.port))
        await until(lambda: len(gateway.data.connections) == number)
        for connection in gateway.data.connections:
            raw = connection.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        for sock in socks:
            await loop.sock_sendall(sock, gateway.request("forever", stream=True))
        yield socks
    finally:
        for sock in socks:
            sock.close()


def buffered(gateway):
    return [connection.transport.get_write_buffer_size() for connection in gateway.data.connections]


def stopped(gateway):
    """The engine has heard that nobody wants what it makes for the first call."""
    return calls(*gateway.simulators)[0].aborted is not None


async def test_c07_caller_that_reads_nothing_is_dropped_and_its_engine_stopped():
    async with running([Simulator(**FLOOD)], server={"write_stall": 0.5}) as gateway:
        async with unread(gateway):
            await until(lambda: calls(*gateway.simulators))
            await until(lambda: stopped(gateway))
        row = await gateway.row()
        assert (row.state, row.status, row.finish) == ("settled", 499, "hang_up")
        assert row.usage_source == "upstream"
        assert row.completion_tokens > 0
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"


async def test_c07_callers_that_read_nothing_fill_no_memory():
    """What the engines make meanwhile stays with them, as soon as the little that is held for each is full."""
    async with running([Simulator(**FLOOD)], server={"write_stall": 60}, resilience=PATIENT) as gateway:
        async with unread(gateway, 20):
            await until(lambda: len(calls(*gateway.simulators)) == 20)
            await until(lambda: min(buffered(gateway)) >= PAUSED)
            held = buffered(gateway)
            most = max(record.generated for record in calls(*gateway.simulators))
            await until(lambda: min(record.generated for record in calls(*gateway.simulators)) > 2 * most)
            held += buffered(gateway)
            print(f"at most {max(held)} bytes for each of 20 callers")
            assert max(held) < 4 * PAUSED
            assert (await gateway.ask("short")).status_code == 200


@pytest.mark.parametrize("limit", ["idle", "stream_total"])
async def test_c08_caller_that_reads_too_slowly_is_dropped_without_an_error(limit, caplog):
    """Not stalled, and never in time: the endpoint is not to blame for a silence that is the caller's."""
    limits = PATIENT | {"timeouts": PATIENT["timeouts"] | {limit: 2}}
    async with running([Simulator(**FLOOD)], server={"write_stall": 60}, resilience=limits) as gateway:
        async with unread(gateway) as (sock,):

            async def drip():
                loop = asyncio.get_running_loop()
                while await loop.sock_recv(sock, 1):
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drip())
            await until(lambda: calls(*gateway.simulators))
            took = []
            while not stopped(gateway):
                began = time.monotonic()
                assert (await gateway.ask("short")).status_code == 200
                took.append(time.monotonic() - began)
            dripping.cancel()
            await asyncio.wait({dripping})
        print(f"others waited {max(took) * 1000:.0f} ms at most, {len(took)} calls")
        assert max(took) < 1
        slow = (await gateway.rows())[0]
        assert (slow.state, slow.status, slow.finish) == ("settled", 499, "hang_up")
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_c08_caller_that_reads_slowly_gets_it_all():
    async with running([Simulator(**FLOOD)], server={"write_stall": 1}, resilience=PATIENT) as gateway:
        caller = await gateway.caller()
        caller.say(gateway.request("3000 tokens", stream=True))
        body = b""
        async with asyncio.timeout(2 * SOON):
            while not body.endswith(b"0\r\n\r\n"):
                body += await caller.reader.read(16384)
                await asyncio.sleep(0.005)
        assert b"data: [DONE]" in body
        assert (await gateway.row()).completion_tokens == 3000
