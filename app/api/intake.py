"""Reads a request from the wire: headers worth knowing, and a bounded body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import CallerGone, RequestTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope


def headers_of(scope: Scope) -> dict[str, str]:
    """Lower-case names; of repeated headers the first counts."""
    raw = reversed(scope["headers"])
    return {str(name, "latin-1"): str(value, "latin-1") for name, value in raw}


def check_media_type(headers: Mapping[str, str]) -> None:
    """JSON in any spelling, never compressed. Raises UnsupportedMediaType."""
    media, _, _ = headers.get("content-type", "").partition(";")
    if (
        media.strip().lower() != "application/json"
        or headers.get("content-encoding", "identity") != "identity"
    ):
        raise UnsupportedMediaType


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """Raises RequestTooLarge as soon as the limit is known to be crossed, CallerGone when cut."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise RequestTooLarge
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise CallerGone
    if not message.get("more_body", False):
        if len(body) > limit:
            raise RequestTooLarge
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            raise RequestTooLarge
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise RequestTooLarge
    return b"".join(parts)
