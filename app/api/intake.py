"""Reads a request from the wire: headers by name, and a bounded body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import CallerGone, RequestTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """By lower-case name; of repeated ones the first counts."""
    return dict(reversed(scope["headers"]))


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """JSON in any spelling, never compressed. Raises UnsupportedMediaType."""
    media = headers.get(b"content-type", b"")
    if media != b"application/json":
        kind = media.decode("latin-1").partition(";")[0]
        if kind.strip().lower() != "application/json":
            raise UnsupportedMediaType
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMediaType


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], limit: int, hold: Callable[[int], None]
) -> bytes:
    """Raises RequestTooLarge as soon as the limit is known to be crossed, CallerGone when cut.

    `hold` is told of bytes before they are taken, all at once where their number was announced, and may raise.
    """
    header = headers.get(b"content-length", b"")
    announced = int(header) if header.isdigit() else 0
    if announced > limit:
        raise RequestTooLarge
    hold(announced)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > announced:
            if size > limit:
                raise RequestTooLarge
            hold(size - announced)
            announced = size
        more = message.get("more_body", False)
    return b"".join(parts)
