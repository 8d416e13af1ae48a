"""The proxy does to a connection what it says, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.tcpproxy import TcpProxy

SOON = 10


@asynccontextmanager
async def echoed():
    """A server that says everything twice, and "bye" once it heard the end, behind a proxy."""
    ends = []

    async def echo(reader, writer):
        try:
            while data := await reader.read(1000):
                writer.write(data + data)
            writer.write(b"bye")
            ends.append("fin")
        except ConnectionError:
            ends.append("rst")
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with TcpProxy(url) as proxy:
        opened = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            async with asyncio.timeout(SOON):
                yield proxy, *opened, ends
        finally:
            await gone(opened[1])
    server.close()


async def gone(writer):
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_bytes_and_ends_pass_both_ways():
    async with echoed() as (proxy, reader, writer, ends):
        assert proxy.url == f"http://127.0.0.1:{proxy.port}/v1"
        writer.write(b"ab")
        assert await reader.readexactly(4) == b"abab"
        writer.write_eof()
        assert await reader.read() == b"bye"
        assert ends == ["fin"]


async def test_silence_holds_everything_back_until_it_is_over():
    async with echoed() as (proxy, reader, writer, _):
        proxy.mode = "silent"
        writer.write(b"ab")
        waiting = asyncio.create_task(reader.readexactly(4))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        proxy.mode = "open"
        assert await waiting == b"abab"


async def test_reset_is_heard_on_both_sides():
    async with echoed() as (proxy, reader, writer, ends):
        writer.write(b"ab")
        await reader.readexactly(4)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        while not ends:
            await asyncio.sleep(0.002)
        assert ends == ["rst"]


@pytest.mark.parametrize("way", ["up", "down"])
async def test_half_close_ends_one_direction(way):
    async with echoed() as (proxy, reader, writer, ends):
        writer.write(b"ab")
        await reader.readexactly(4)
        proxy.half_close(way)
        assert await reader.read() == (b"bye" if way == "up" else b"")
        if way == "down":
            writer.write_eof()
        while not ends:
            await asyncio.sleep(0.002)
        assert ends == ["fin"]


async def test_refusing_resets_old_and_new_connections():
    async with echoed() as (proxy, reader, writer, _):
        proxy.mode = "refusing"
        writer.write(b"ab")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        other, hers = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await other.read()
        await gone(hers)


async def test_nobody_listens_until_it_starts_again_on_the_same_port():
    async with echoed() as (proxy, reader, writer, _):
        port = proxy.port
        proxy.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ab")
        assert await reader.readexactly(4) == b"abab"
        await proxy.start()
        assert proxy.port == port


async def test_delay_and_rate_take_their_time():
    async with echoed() as (proxy, reader, writer, _):
        clock = asyncio.get_running_loop().time
        proxy.delay = 0.05
        began = clock()
        writer.write(b"ab")
        await reader.readexactly(4)
        assert clock() - began >= 0.1
        proxy.delay, proxy.rate = 0.0, 1000
        began = clock()
        writer.write(b"x" * 100)
        await reader.readexactly(200)
        assert clock() - began >= 0.3
