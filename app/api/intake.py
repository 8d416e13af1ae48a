"""Reads a request from the wire: headers worth knowing, and a bounded body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import CallerGone, RequestTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope


WANTED = {
    name.encode(): name
    for name in (
        "authorization", "x-api-key", "content-type", "content-encoding", "content-length", "user-agent",
        "referer", "x-request-id", "x-request-timeout-ms", "traceparent", "tracestate",
    )
}  # fmt: skip


def headers_of(scope: Scope, wanted: Mapping[bytes, str] = WANTED) -> dict[str, str]:
    """Those that mean something here, by lower-case name; of repeated ones the first counts."""
    raw = reversed(scope["headers"])
    return {wanted[name]: value.decode("latin-1") for name, value in raw if name in wanted}


def check_media_type(headers: Mapping[str, str]) -> None:
    """JSON in any spelling, never compressed. Raises UnsupportedMediaType."""
    media = headers.get("content-type", "")
    if media != "application/json" and media.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType


async def read_body(
    receive: Receive, headers: Mapping[str, str], limit: int, hold: Callable[[int], None]
) -> bytes:
    """Raises RequestTooLarge as soon as the limit is known to be crossed, CallerGone when cut.

    `hold` is told of bytes before they are taken, all at once where their number was announced, and may raise.
    """
    header = headers.get("content-length", "")
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
