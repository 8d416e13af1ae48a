"""One socket to an endpoint: it carries one exchange at a time and hears of its own death at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from app.core.failures import ClosedEarly
from app.upstream.transport.direct.incoming import Incoming

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from app.core.reply import Reply
    from app.upstream.transport.options import TransportOptions

_JOINED = 32 * 1024
"""Bytes of body up to which copying them behind the head is cheaper than a second buffer."""


class Home(Protocol):
    """Where a connection is kept while it is idle, and missed when it is gone."""

    def keep(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """`heard`: a byte has come back in the current exchange. `closed` is final."""

    __slots__ = (
        "_home", "_incoming", "_loop", "_options", "_paused", "_transport", "closed", "heard", "idle_since",
    )  # fmt: skip

    def __init__(self, home: Home, options: TransportOptions) -> None:
        self.closed = self.heard = False
        self.idle_since = 0.0
        self._home = home
        self._options = options
        self._incoming: Incoming | None = None
        self._paused = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: asyncio.Transport | None = None

    def exchange(self, head: bytes, body: bytes) -> Awaitable[Reply]:
        """Sends at once; the reply comes when its head is in.

        Raises ClosedEarly or BadUpstream; the connection is gone then, and when cancelled.
        """
        transport = self._transport
        if self.closed or transport is None:
            raise ClosedEarly
        self.heard = False
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        incoming = self._incoming = Incoming(self, self._options, self._loop)
        if len(body) > _JOINED:
            transport.writelines((head, body))
        else:
            transport.write(head + body)
        return incoming.head()

    def abort(self) -> None:
        """Drop the socket without a farewell, and with it what it carries; idempotent."""
        self._over(clean=False)
        if self._transport is not None:
            self._transport.abort()

    def finish(self, *, reusable: bool) -> None:
        """An answer that overtook its request leaves bytes unsent: such a connection is not reusable."""
        self._incoming = None
        if reusable and self._transport is not None and not self._transport.get_write_buffer_size():
            self.resume()
            self._home.keep(self)
        else:
            self.abort()

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self.closed:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._incoming is None:
            self.abort()
        else:
            self._incoming.feed(data)

    def eof_received(self) -> None:
        self._over(clean=True)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(clean=exc is None)
        self._home.lost(self)

    def _over(self, *, clean: bool) -> None:
        self.closed = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.lost(clean=clean)
