"""Opening a connection: every address of a name gets its chance, one of them wins, the rest are dropped."""

from __future__ import annotations

import asyncio
import socket
from asyncio.staggered import staggered_race
from functools import partial
from typing import TYPE_CHECKING

from app.core.failures import ConnectFailed, ConnectTimeout
from app.core.patience import within
from app.upstream.transport.direct.connection import Connection
from app.upstream.transport.direct.tls import ssl_context

if TYPE_CHECKING:
    import ssl

    from app.upstream.transport.direct.pool import Origin
    from app.upstream.transport.options import TransportOptions


class Dial:
    """One attempt to reach an origin.

    The race of addresses is our own because uvloop has none. Only the winner is counted as open: a
    cancelled `create_connection` of uvloop closes the socket without a word to the protocol.
    """

    def __init__(self, origin: Origin, options: TransportOptions) -> None:
        self._origin = origin
        self._options = options
        self._made: list[Connection] = []

    async def connect(self, timeout: float) -> Connection:
        """`timeout` covers name, connection and TLS. Raises ConnectFailed or ConnectTimeout."""
        winner: Connection | None = None
        self._origin.dialling += 1
        try:
            async with within(timeout):
                winner = await self._race()
            self._origin.opened(winner)
            return winner
        except TimeoutError as error:
            raise ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed from error
        finally:
            self._origin.dialling -= 1
            for connection in self._made:
                if connection is not winner:
                    connection.abort()

    async def _race(self) -> Connection:
        origin = self._origin
        context = ssl_context(origin.tls) if origin.secure else None
        if origin.literal:
            return await self._open(origin.host, context)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        starts = [partial(self._open, address, context) for address in addresses]
        winner: Connection | None
        winner, _, errors = await staggered_race(starts, self._options.happy_eyeballs_delay)
        if winner is None:
            raise next((error for error in errors if error is not None), OSError("the name has no address"))
        return winner

    async def _open(self, address: str, context: ssl.SSLContext | None) -> Connection:
        connection = Connection(self._origin, self._options)
        self._made.append(connection)
        await asyncio.get_running_loop().create_connection(
            lambda: connection,
            address,
            self._origin.port,
            ssl=context,
            server_hostname=None if context is None else self._origin.host,
        )
        return connection
