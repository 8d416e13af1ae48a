"""What a supervisor and one of its workers say to each other: whole messages, in order, over a socket pair."""

from __future__ import annotations

import asyncio
import pickle
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

_LENGTH = struct.Struct("!I")


class Channel:
    """One end. The kernel closes the other end with its process, so that each learns of the other's death."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """Takes the socket over."""
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, message: Any) -> None:
        """Never waits; what a dead end is told is lost."""
        if not self._writer.is_closing():
            body = pickle.dumps(message)
            self._writer.write(_LENGTH.pack(len(body)) + body)

    async def receive(self) -> Any | None:
        """The next message; None once the other end is closed."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        return pickle.loads(body)  # noqa: S301  only our own parent or child holds the other end

    def close(self) -> None:
        self._writer.close()
