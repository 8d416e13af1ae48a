"""Reads a request from the wire: headers worth knowing, and a bounded body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import CallerGone, RequestTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    media, _, _ = headers.get("content-type", "").partition(";")
    plain = headers.get("content-encoding", "identity") == "identity"
    if media.strip().lower() != "application/json" or not plain:
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
