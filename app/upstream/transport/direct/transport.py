"""The direct transport: a pooled connection if one is good, else a new one; one write, one wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.failures import ClosedEarly, ConnectFailed, ConnectTimeout
from app.upstream.transport.direct.dial import Dial
from app.upstream.transport.direct.pool import ConnectionPool
from app.upstream.transport.direct.request import encode_head

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.reply import Outbound, Reply
    from app.upstream.transport.options import TransportOptions


class DirectTransport:
    """Implements app.core.ports.Transport.

    A reused connection that dies at once, before a byte has come back, was closed by the endpoint while it
    was idle: the request is sent once more, on a fresh one, and nobody hears of it. One that dies later than
    a new one may take to open has been at work: whether to begin anew is not decided here. Nor is it where
    the endpoint takes no fresh one: then it died, be it of this request.
    """

    def __init__(self, options: TransportOptions, clock: Clock) -> None:
        self._options = options
        self._now = clock.monotonic
        self._pool = ConnectionPool(options, clock)

    async def send(self, outbound: Outbound, endpoint: EndpointSpec, connect_timeout: float) -> Reply:
        origin = self._pool.origin(endpoint)
        head = encode_head(outbound, origin.authority)
        connection = origin.take()
        if connection is not None:
            sent = self._now()
            try:
                return await connection.exchange(head, outbound.body)
            except ClosedEarly:
                if connection.heard or self._now() - sent > connect_timeout:
                    raise
                try:
                    fresh = await Dial(origin, self._options).connect(connect_timeout)
                except (ConnectFailed, ConnectTimeout) as gone:
                    raise ClosedEarly from gone
                return await fresh.exchange(head, outbound.body)
        connection = await Dial(origin, self._options).connect(connect_timeout)
        return await connection.exchange(head, outbound.body)

    def connections(self, endpoint: EndpointSpec) -> tuple[int, int]:
        """(open, idle); idle ones are open too."""
        origin = self._pool.origin(endpoint)
        return len(origin.open), len(origin.idle)

    async def aclose(self) -> None:
        """Drops every connection; calls under way fail."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        return f"<DirectTransport {self._pool!r}>"
