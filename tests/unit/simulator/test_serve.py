from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from app.simulator import SimulatorOptions, run, serve
from tests.unit.simulator.raw_client import Line, chat, post


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """`serve` as a task of this process."""

    def __init__(self, **options) -> None:
        self.port = free_port()
        self.ready = asyncio.Event()
        fields = {"ttft": 0.001, "itl": 0.005, **options}
        self.task = asyncio.ensure_future(serve(SimulatorOptions(**fields), port=self.port, ready=self.ready))


async def test_sigterm_aborts_and_ends(monkeypatch):
    monkeypatch.setattr("app.simulator.shutdown._EXIT_DELAY", 0.02)
    server = Server()
    await server.ready.wait()
    async with await Line.to(server) as line:
        line.send(post(chat("forever", stream=True)))
        await line.head()
        await line.events(3)
        os.kill(os.getpid(), signal.SIGTERM)
        assert b'"finish_reason":"abort"' in await asyncio.wait_for(line.reader.readuntil(b"0\r\n\r\n"), 1)
        await asyncio.wait_for(server.task, 1)


async def test_sigterm_drains_where_told_to(monkeypatch):
    monkeypatch.setattr("app.simulator.shutdown._EXIT_DELAY", 0.02)
    server = Server(shutdown_timeout=0.2)
    await server.ready.wait()
    async with await Line.to(server) as line:
        line.send(post(chat("10 tokens", stream=True)))
        await line.head()
        os.kill(os.getpid(), signal.SIGTERM)
        assert b'"finish_reason":"stop"' in await asyncio.wait_for(line.reader.readuntil(b"0\r\n\r\n"), 1)
        await asyncio.wait_for(server.task, 2)


async def test_sigint_ends_at_once():
    server = Server()
    await server.ready.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(server.task, 1)


def test_a_taken_port_ends_it_with_an_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(OSError, match="in use"):
            run(SimulatorOptions(), port=sock.getsockname()[1])
