"""One worker of several: a whole gateway whose ports and configuration come from its supervisor."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
from typing import TYPE_CHECKING, cast

import uvloop

from app.cli.failure import Failed, plainly
from app.cli.running import settle_memory
from app.cli.workers.link import Link
from app.cli.workers.messages import Alive, Ready, Start, lock_of, socket_of
from app.core.clock import SystemClock
from app.main import create_data_app, create_ops_routes
from app.server.lifecycle import State
from app.server.listener import Listener
from app.server.runner import ignore_asking, run
from app.server.watchdog import watched
from app.server.workers.channel import Channel
from app.server.workers.hangs import BEAT
from app.server.workers.origin import told_origin
from app.server.workers.whole_lines import in_whole_lines
from app.telemetry.logs import configure_logging
from app.upstream.control import ControlPlane
from app.wiring import build

if TYPE_CHECKING:
    from pathlib import Path

    from app.server.refusal import Application
    from app.wiring import House


def work(descriptor: int) -> int:
    """Returns the exit code. `descriptor` is this end of the channel."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with plainly():
            return uvloop.run(_work(socket.socket(fileno=descriptor)))
    except Failed as failed:
        failed.show()
        return 1


async def _work(sock: socket.socket) -> int:
    channel = await Channel.over(sock)
    start: Start | None = await channel.receive()
    if start is None:
        return 1
    settings = start.settings
    sys.stdout = in_whole_lines(1, lock_of(start.folder))
    configure_logging(settings.logging)
    link = Link(channel, ControlPlane(SystemClock()))
    house = await build(settings, control=link, worker=start.seat)
    house.colleagues = link
    try:
        callers, operators = cast("Application", create_data_app(house)), create_ops_routes(house)
        data = Listener(
            callers,
            house.lifecycle,
            settings.server,
            sock=socket.socket(fileno=start.data),
            refused=house.hearing.calls.turned_away,
            lifespan="off",
        )
        house.connections = lambda: len(data.connections)
        path = socket_of(start.folder, start.seat)
        ops = Listener(
            told_origin(operators), house.lifecycle, settings.server, sock=_bind(path), lifespan="off"
        )
        told = asyncio.create_task(_obey(link, house, data, start.folder), name="supervisor's word")
        await house.start()
        settle_memory()
        ready = asyncio.create_task(_tell(channel, house), name="signs of life")
        with watched(lambda: house.hearing.lag.beats, settings.server.watchdog):
            code = await run([data, ops], house.lifecycle, settings.server)
        ignore_asking()
        for task in (ready, told):
            task.cancel()
        await asyncio.wait({ready, told})
        return code
    finally:
        ignore_asking()
        await house.aclose()


async def _tell(channel: Channel, house: House) -> None:
    await house.lifecycle.reached(State.SERVING)
    if house.lifecycle.state is State.SERVING:
        channel.send(Ready())
    while True:
        await asyncio.sleep(BEAT)
        channel.send(Alive())


async def _obey(link: Link, house: House, data: Listener, folder: Path) -> None:
    """A supervisor that died is no reason to cut calls; its successor will want the port at once, and
    nobody wants what it left behind.
    """
    await link.listen(house)
    shutil.rmtree(folder, ignore_errors=True)
    data.stop_accepting()
    house.lifecycle.stop()


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    path.chmod(0o600)
    return sock
