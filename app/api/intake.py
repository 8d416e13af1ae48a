"""Reads a request from the wire: headers worth knowing, and a bounded body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import CallerGone, RequestTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from starlette.types import Receive, Scope


class Headers:
    """A request's headers by lower-case name, decoded as they are asked for; of repeated ones the first counts."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: dict[bytes, bytes] = dict(reversed(scope["headers"]))

    def get(self, name: bytes) -> str | None:
        value = self._raw.get(name)
        return None if value is None else value.decode("latin-1")

    def text(self, name: bytes) -> str:
        """Empty when there is no such header."""
        value = self._raw.get(name)
        return "" if value is None else value.decode("latin-1")


def check_media_type(headers: Headers) -> None:
    """JSON in any spelling, never compressed. Raises UnsupportedMediaType."""
    media, _, _ = headers.text(b"content-type").partition(";")
    if media.strip().lower() != "application/json" or headers.text(b"content-encoding") not in {
        "",
        "identity",
    }:
        raise UnsupportedMediaType


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Raises RequestTooLarge as soon as the limit is known to be crossed, CallerGone when cut."""
    announced = headers.text(b"content-length")
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
