"""What a gateway in Python cannot go below: bytes from a caller to a pooled connection and back, nothing read.

    python -m bench.relay --to PORT [PORT …]

Prints one line, {"port": …}. Of a message only its length is looked at, to know when the connection is free again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"0\r\n\r\n"


class Message:
    """Where a request or an answer ends."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._begun = False
        self._tail = b""

    def ends(self, data: bytes) -> bool:
        if not self._begun:
            data = self._tail + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._tail = data
                return False
            self._begun = True
            length = _LENGTH.search(data, 0, end)
            self._left = int(length[1]) + end + 4 if length else None
        if self._left is None:
            self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]
            return self._tail == _END
        self._left -= len(data)
        return self._left <= 0


class Pool:
    """Idle connections, the latest first; new ones to the ports in turn."""

    def __init__(self, ports: list[int]) -> None:
        self.idle: list[Behind] = []
        self._ports = itertools.cycle(ports)

    async def open(self) -> Behind:
        loop = asyncio.get_running_loop()
        _, behind = await loop.create_connection(lambda: Behind(self), "127.0.0.1", next(self._ports))
        return behind


class Behind(asyncio.Protocol):
    """A connection to the upstream."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.caller: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def serve(self, caller: asyncio.Transport) -> None:
        self.caller = caller
        self._answer = Message()

    def data_received(self, data: bytes) -> None:
        if self.caller is None:
            return
        self.caller.write(data)
        if self._answer.ends(data):
            self.caller = None
            self._pool.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._pool.idle:
            self._pool.idle.remove(self)
        if self.caller is not None:
            self.caller.close()


class Front(asyncio.Protocol):
    """A connection of a caller."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._behind: Behind | None = None
        self._opening: asyncio.Task[None] | None = None
        self._request: Message | None = None
        self._held: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self._request = Message()
            self._behind = self._pool.idle.pop() if self._pool.idle else None
            if self._behind is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            else:
                self._behind.serve(self._transport)
        if self._behind is None:
            self._held.append(data)
        else:
            self._behind.transport.write(data)
        if self._request.ends(data):
            self._request = None

    async def _open(self) -> None:
        self._behind = await self._pool.open()
        self._behind.serve(self._transport)
        self._behind.transport.writelines(self._held)
        self._held.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._behind is not None and self._behind.caller is self._transport:
            self._behind.transport.abort()


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=int, nargs="+", required=True, help="ports of the upstream")
    pool = Pool(parser.parse_args().to)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(pool), "127.0.0.1", 0, backlog=8192)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
