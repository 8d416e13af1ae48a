"""The supervisor: starts the workers, answers operators for all of them, and outlives each."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from app.cli.workers.door import UnixDoor
from app.cli.workers.messages import socket_of
from app.cli.workers.supervisor import Supervisor
from app.server.allow import allowing
from app.server.lifecycle import Lifecycle
from app.server.listener import CannotStart, Listener, bind, listening
from app.server.runner import signals
from app.server.workers import merging
from app.server.workers.hangs import end_hung
from app.server.workers.ops import OpsOfAll
from app.store.apart import prepare_apart
from app.store.schema import up_to_date
from app.telemetry.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from socket import socket

    from app.server.workers.doors import Answer, Request
    from app.settings import Settings

PAGE = b"text/plain; version=1.0.0; charset=utf-8"


def run_workers(settings: Settings, reread: Callable[[], Settings], count: int) -> int:
    """Serve until a signal says to stop; returns the worst of the workers' exit codes. SIGHUP reloads what
    `reread` gives. Raises StoreRefusal.
    """
    _prepare(settings.database_url.get_secret_value())
    folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    try:
        with _port(settings) as held:
            return uvloop.run(_supervise(settings, reread, count, folder, held))
    except CannotStart as error:
        sys.stderr.write(f"sluice: {error}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(url: str) -> None:
    prepare_apart(url)
    if not asyncio.run(up_to_date(url)):
        from app.store.migrate import prepare

        prepare(url)


@contextmanager
def _port(settings: Settings) -> Iterator[socket]:
    """Keeps the callers' port for the workers; a socket that does not listen gets no connections."""
    server = settings.server
    with bind(server.host, server.port) as alone:
        port = alone.getsockname()[1]
    with bind(server.host, port, shared=True) as held:
        yield held


async def _supervise(
    settings: Settings, reread: Callable[[], Settings], count: int, folder: Path, held: socket
) -> int:
    supervisor = Supervisor(settings, reread, count, folder, held.getsockname()[1])
    lifecycle = Lifecycle()
    with signals(supervisor.stop, partial(supervisor.spare, supervisor.reload)):
        try:
            if await supervisor.crew.start():
                ops = Listener(
                    allowing(_operators(supervisor), settings.ops.allow),
                    lifecycle,
                    settings.server,
                    host=settings.ops.host,
                    port=settings.ops.port,
                    lifespan="off",
                )
                supervisor.spare(partial(end_hung, supervisor.crew, settings.server.watchdog.kill_after))
                async with listening(ops):
                    lifecycle.begin_serving()
                    return await supervisor.crew.gone()
            return await supervisor.crew.gone()
        except CannotStart:
            supervisor.stop()
            await supervisor.crew.gone()
            raise
        finally:
            await supervisor.aclose()


def _operators(supervisor: Supervisor) -> OpsOfAll:
    sums = Sums()

    def doors() -> list[UnixDoor]:
        return [
            UnixDoor(worker.seat, worker.pid, socket_of(supervisor.folder, worker.seat))
            for worker in supervisor.crew.ready
        ]

    def metrics(request: Request, answers: Sequence[Answer]) -> tuple[int, bytes, bytes]:
        pages = {answer.pid: answer.body.decode() for answer in answers}
        living = {worker.pid for worker in supervisor.crew.workers}
        return 200, PAGE, sums.add(pages, living).encode()

    merges = {
        "/metrics": metrics,
        "/status": merging.status,
        "/ready": merging.ready,
        "/readyz": merging.ready,
        "/admin/v1/inflight": merging.inflight,
        "/admin/v1/fleet": merging.fleet,
    }
    return OpsOfAll(doors, merges)
