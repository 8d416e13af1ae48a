"""Idle connections wait for the next call, the most recent first, and never longer than is safe.

There is no limit on open connections: the bulkheads before the transport are the limit.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.clock import Clock, Timer
    from app.core.endpoint import EndpointSpec, Tls
    from app.upstream.transport.direct.connection import Connection
    from app.upstream.transport.options import TransportOptions


class Origin:
    """The connections to one address under one TLS setting."""

    def __init__(self, endpoint: EndpointSpec, pool: ConnectionPool) -> None:
        self.host, self.port = endpoint.address
        self.secure = endpoint.secure
        self.tls: Tls | None = endpoint.tls
        self.literal = _literal(self.host)
        self.authority = _authority(self.host, self.port, secure=self.secure)
        self.open: set[Connection] = set()
        self.idle: list[Connection] = []
        self.dialling = 0
        self._pool = pool

    def take(self) -> Connection | None:
        """The connection used last, if it is still good."""
        if self.idle:
            self.expire()
            while self.idle:
                connection = self.idle.pop()
                if not connection.closed:
                    return connection
        return None

    def expire(self) -> None:
        """Drop what has been idle for too long; the oldest come first in the list."""
        idle, oldest = self.idle, self._pool.oldest()
        if idle[-1].idle_since <= oldest:
            expired, self.idle = idle, []
        elif idle[0].idle_since <= oldest:
            fresh = next(index for index, each in enumerate(idle) if each.idle_since > oldest)
            expired, self.idle = idle[:fresh], idle[fresh:]
        else:
            return
        for connection in expired:
            connection.abort()

    def opened(self, connection: Connection) -> None:
        if self._pool.closed:
            connection.abort()
        elif not connection.closed:
            self.open.add(connection)

    def keep(self, connection: Connection) -> None:
        if self._pool.closed:
            connection.abort()
            return
        connection.idle_since = self._pool.now()
        self.idle.append(connection)
        self._pool.arm()

    def lost(self, connection: Connection) -> None:
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._pool.lost()

    def __repr__(self) -> str:
        return f"<Origin {self.authority} open={len(self.open)} idle={len(self.idle)}>"


class ConnectionPool:
    """Every origin's connections, and one timer that expires the idle ones."""

    def __init__(self, options: TransportOptions, clock: Clock) -> None:
        self.closed = False
        self.now = clock.monotonic
        self._expiry = options.keep_alive_expiry
        self._clock = clock
        self._origins: dict[tuple[str, Tls | None], Origin] = {}
        self._timer: Timer | None = None
        self._emptied: asyncio.Future[None] | None = None

    def origin(self, endpoint: EndpointSpec) -> Origin:
        key = (endpoint.url, endpoint.tls)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(endpoint, self)
        return origin

    def oldest(self) -> float:
        """Monotonic time; what has been idle since then or longer has expired."""
        return self.now() - self._expiry

    def arm(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(self._expiry, self._sweep)

    def lost(self) -> None:
        if self._emptied is not None and not self._emptied.done() and not self._open():
            self._emptied.set_result(None)

    async def aclose(self) -> None:
        """Returns when every connection is gone."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for origin in self._origins.values():
            for connection in tuple(origin.open):
                connection.abort()
        if self._open():
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    def _sweep(self) -> None:
        self._timer = None
        for key, origin in tuple(self._origins.items()):
            if origin.idle:
                origin.expire()
            if origin.idle:
                self.arm()
            elif not origin.open and not origin.dialling:
                del self._origins[key]

    def _open(self) -> int:
        return sum(len(origin.open) for origin in self._origins.values())

    def __repr__(self) -> str:
        return f"<ConnectionPool {list(self._origins.values())}>"


def _literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _authority(host: str, port: int, *, secure: bool) -> str:
    """The Host header: brackets around IPv6, no zone, no port that goes without saying."""
    name = host.partition("%")[0]
    name = f"[{name}]" if ":" in name else name
    return name if port == (443 if secure else 80) else f"{name}:{port}"
