from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack

import pytest

from app.server.lifecycle import Lifecycle
from app.server.listener import CannotStart, Listener, listening
from app.server.options import ServerOptions
from tests.rawcaller import Application, house, post

OPTIONS = ServerOptions(host="127.0.0.1", port=0)


class Alive:
    """An application that notes its startup and shutdown."""

    def __init__(self, works=True):
        self.works = works
        self.seen = []

    async def __call__(self, scope, receive, send):
        self.seen.append((await receive())["type"])
        if not self.works:
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        self.seen.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


async def test_startup_comes_before_and_shutdown_after_serving():
    app = Alive()
    listener = Listener(app, Lifecycle(), OPTIONS)
    async with listening(listener):
        assert listener.port > 0
        assert app.seen == ["lifespan.startup"]
    assert app.seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_taken_port_is_one_plain_line():
    async with house(Application()) as subject:
        port = subject.listener.port
        with pytest.raises(
            CannotStart, match=f"cannot listen on 127.0.0.1 port {port}: address already in use"
        ):
            await Listener(Application(), Lifecycle(), OPTIONS, port=port).start()


async def test_failed_startup_frees_the_port():
    listener = Listener(Alive(works=False), Lifecycle(), OPTIONS)
    with pytest.raises(CannotStart, match="the application failed to start"):
        await listener.start()
    async with listening(Listener(Application(), Lifecycle(), OPTIONS, port=listener.port, lifespan="off")):
        pass


async def test_a_crowd_is_accepted_in_few_turns_of_the_loop():
    """Turns of a busy loop are long, and whoever is not accepted yet waits for them unseen."""
    async with house(Application()) as subject, AsyncExitStack() as stack:
        address = "127.0.0.1", subject.listener.port
        for _ in range(64):
            stack.enter_context(socket.create_connection(address))
        turns = 0
        while len(subject.listener.connections) < 64:
            await asyncio.sleep(0)
            turns += 1
        assert turns <= 16


async def test_stop_before_start_does_nothing():
    await Listener(Application(), Lifecycle(), OPTIONS).stop()


async def test_stop_ends_streams_and_their_tasks():
    app = Application()
    listener = Listener(app, Lifecycle(), OPTIONS, lifespan="off")
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        await subject.listener.stop()
        await caller.closed()
    assert app.hang_ups == 1
    assert not listener.tasks


async def test_stop_cancels_what_does_not_listen(monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")
    monkeypatch.setattr("app.server.listener._LAST_WORDS", 0.05)
    app = Application()

    async def deaf(scope, receive, send):
        app.started.set()
        await app.go_on.wait()

    async with house(deaf) as subject:
        await subject.call(post())
        await app.started.wait()
        await subject.listener.stop()
        assert not subject.listener.tasks


async def test_heart_survives_a_broken_connection(caplog):
    class Broken:
        def check(self, now):
            raise RuntimeError

    app = Application()
    async with house(app, header_timeout=0.1) as subject:
        subject.listener.connections.add(Broken())
        silent = await subject.call()
        while "checking the connections failed" not in caplog.text:
            await (await subject.call(post())).answer()
        subject.listener.connections.clear()
        silent.hang_up()


async def test_ipv6_and_unresolvable_hosts():
    listener = Listener(Application(), Lifecycle(), OPTIONS, host="::1", lifespan="off")
    async with listening(listener):
        assert "::1" in repr(listener)
    with pytest.raises(CannotStart):
        await Listener(Application(), Lifecycle(), OPTIONS, host="no.such.host.invalid").start()
