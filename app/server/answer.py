"""How answers end: by length or last chunk in HTTP/1.1, which is uvicorn's own; by closing in HTTP/1.0."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CloseDelimited(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: it ends where the connection ends."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.chunked_encoding = False

    async def send(self, message: Any) -> None:
        self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
