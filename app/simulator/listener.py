"""The listening socket and the connections it has accepted."""

from __future__ import annotations

import asyncio
import socket

from app.simulator.front import Front
from app.simulator.http.connection import Connection
from app.simulator.http.exchange import Exchange
from app.simulator.instance import Instance

_BACKLOG = 2048


class Listener:
    """Accepts on one address, which stays the same when closed and opened again."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connections: set[Connection] = set()
        self.instance: Instance
        self.front: Front
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"Listener({self.host}:{self.port}, open={self.open}, connections={len(self.connections)})"

    @property
    def open(self) -> bool:
        return self._server is not None

    def serve(self, instance: Instance, front: Front) -> None:
        """Whom new requests go to from now on."""
        self.instance, self.front = instance, front

    async def listen(self) -> None:
        """Bind if closed. Port 0 takes any free one, once. Raises OSError for a taken port."""
        if self._server is not None:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
            self.port = sock.getsockname()[1]
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), sock=sock, backlog=_BACKLOG)
        except BaseException:
            sock.close()
            raise

    def refuse(self) -> None:
        """Close the socket; open connections live on."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    def close_idle(self) -> None:
        """FIN on connections between two requests, `connection: close` behaviour on the others."""
        for connection in list(self.connections):
            connection.retire()

    async def close(self) -> None:
        """Close the socket and every connection at once."""
        self.refuse()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0)

    @property
    def keep_alive(self) -> float:
        return self.instance.options.keep_alive

    def accepted(self, connection: Connection) -> None:
        self.connections.add(connection)
        counters = self.instance.truth.counters
        counters.connections_accepted += 1
        counters.connections_open += 1

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.instance.truth.counters.connections_open -= 1

    def handle(self, exchange: Exchange) -> None:
        self.front.handle(exchange)
