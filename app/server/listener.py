"""One port with an application behind it, on the running event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import uvicorn

from app.server.protocol import LimitedProtocol
from app.server.terms import Terms, unheard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.server.lifecycle import Lifecycle
    from app.server.options import ServerOptions
    from app.server.refusal import Application
    from app.server.terms import Refused

logger = logging.getLogger(__name__)

_LAST_WORDS = 2.0

ACCEPTED_AT_ONCE = 16
"""New connections in one turn of the event loop. libuv takes one for each socket that listens: a crowd that
comes while the loop is busy, and its turns are long, would wait for seconds.
"""


class CannotStart(Exception):
    """The message is one plain line for the operator."""


class Listener:
    """Starts and stops without touching signals. Port 0 takes a free one, known once it is started.

    `sock` is a bound socket to listen on in place of host and port. `refused` hears of requests turned away before the application saw them.
    """

    def __init__(
        self,
        app: Application,
        lifecycle: Lifecycle,
        options: ServerOptions,
        *,
        host: str | None = None,
        port: int | None = None,
        sock: socket.socket | None = None,
        refused: Refused = unheard,
        lifespan: Literal["auto", "on", "off"] = "auto",
    ) -> None:
        self.host = options.host if host is None else host
        self.port = options.port if port is None else port
        self._sock = sock
        self._options = options
        config = uvicorn.Config(
            cast("Any", app),
            http=cast("Any", partial(LimitedProtocol, Terms(options, lifecycle, refused))),
            ws="none",
            lifespan=lifespan,
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._heart: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Requests the application is working on."""
        return self._server.server_state.tasks

    @property
    def connections(self) -> set[LimitedProtocol]:
        return cast("set[LimitedProtocol]", self._server.server_state.connections)

    async def start(self) -> None:
        """Bind, run the application's startup, accept. Raises CannotStart."""
        sock = self._sock or bind(self.host, self.port)
        if sock.family != socket.AF_UNIX:
            self.port = sock.getsockname()[1]
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        sockets = [sock, *(sock.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
        try:
            await self._server.startup(sockets=sockets)
        except SystemExit:
            for each in sockets:
                each.close()
            raise CannotStart("the application failed to start") from None
        self._heart = asyncio.create_task(self._beat(), name=f"listener-{self.port}")
        if sock.family != socket.AF_UNIX:
            logger.info("listening on %s port %d", self.host, self.port)

    def stop_accepting(self) -> None:
        """Connections that are open stay open."""
        for server in self._server.servers:
            server.close()

    async def stop(self) -> None:
        """Stop accepting, end what is left within seconds, run the application's shutdown."""
        if self._heart is None:
            return
        self.stop_accepting()
        for connection in list(self.connections):
            connection.transport.abort()
        await finished(self.tasks, _LAST_WORDS)
        for task in self.tasks:
            task.cancel()
        await finished(self.tasks, _LAST_WORDS)
        for server in self._server.servers:
            await server.wait_closed()
        await self._server.lifespan.shutdown()
        self._heart.cancel()
        await finished({self._heart}, _LAST_WORDS)
        self._heart = None

    async def _beat(self) -> None:
        """Keeps the Date header and every connection's deadlines, a tenth of the shortest one apart."""
        options = self._options
        shortest = min(options.header_timeout, options.body_timeout, options.write_stall)
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._server.on_tick(0)
                now = loop.time()
                for connection in list(self.connections):
                    connection.check(now)
            except Exception:
                logger.exception("checking the connections failed")
            await asyncio.sleep(min(1.0, shortest / 10))

    def __repr__(self) -> str:
        return (
            f"<Listener {self.host}:{self.port} connections={len(self.connections)} tasks={len(self.tasks)}>"
        )


@asynccontextmanager
async def listening(*listeners: Listener) -> AsyncIterator[None]:
    """Started in order; stopped in the same order, also those before one that could not start."""
    try:
        for listener in listeners:
            await listener.start()
        yield
    finally:
        for listener in listeners:
            await listener.stop()


async def finished(tasks: set[asyncio.Task[None]], timeout: float) -> None:
    """Wait for tasks, however they end, for at most `timeout` seconds."""
    if tasks:
        await asyncio.wait(set(tasks), timeout=timeout)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that does not listen yet; `shared`: with others of its kind, among which the kernel spreads
    new connections evenly. Raises CannotStart.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so that asyncio sets TCP_NODELAY
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise CannotStart(f"cannot listen on {host} port {port}: {reason}") from None
    return sock
