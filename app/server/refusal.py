"""Answers given by the server itself: an error of ours in the contract's shape, then the connection closes."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from app.core.errors import GatewayError

    Header = tuple[bytes, bytes]
    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def refusal(error: GatewayError, asked: Iterable[Header]) -> tuple[list[Header], bytes]:
    """Headers and body of the answer; `asked` are the request's headers, as far as they are known."""
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", _request_id(asked)),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    headers += [(name.encode(), value.encode()) for name, value in error.headers().items()]
    return headers, body


def refusal_bytes(error: GatewayError, asked: Iterable[Header], defaults: Iterable[Header]) -> bytes:
    """The whole answer as HTTP/1.1."""
    headers, body = refusal(error, asked)
    lines = [b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode())]
    lines += [name + b": " + value for name, value in (*defaults, *headers)]
    return b"\r\n".join([*lines, b"", body])


async def refuse(error: GatewayError, scope: Scope, send: Send) -> None:
    """The same from inside an ASGI application."""
    headers, body = refusal(error, scope["headers"])
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _request_id(asked: Iterable[Header]) -> bytes:
    for name, value in asked:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return uuid4().hex.encode()
