"""A file made of rows while it is sent: constant memory, and an end that says whether it is whole."""

from __future__ import annotations

import asyncio
import csv
import io
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from app.wire.body import encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    Rows = AsyncIterator[Mapping[str, Any]]

_CHUNK = 64 * 1024


class Download(Response):
    """What fails before the first chunk is an error's answer; what fails later cuts the connection.

    Stops making rows when nobody is there to take them.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], name: str, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self.headers["content-disposition"] = f'attachment; filename="{name}"'
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_gone(receive), name="export's caller")
        started = False
        try:
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    if not started:
                        await send(self._head())
                        started = True
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    if gone.done():
                        return
            if not started:
                await send(self._head())
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    def _head(self) -> dict[str, Any]:
        return {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}


async def as_jsonl(rows: Rows) -> AsyncGenerator[bytes, None]:
    """One JSON object a line."""
    chunk = bytearray()
    async for row in rows:
        chunk += encode(row) + b"\n"
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


async def as_csv(rows: Rows, columns: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """A head line, then one line a row; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    async for row in rows:
        writer.writerow(row)
        if text.tell() >= _CHUNK:
            yield _taken(text)
    if text.tell():
        yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    taken = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return taken


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
