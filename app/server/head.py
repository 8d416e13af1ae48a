"""The head of one request is judged once, before the application hears of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools

from app.core.errors import HeadersTooLarge, InvalidRequest, RequestTooLarge

if TYPE_CHECKING:
    from app.server.options import ServerOptions


def named_fields(fields: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Headers as pairs, of names and values as they came one after the other; the names in lower case."""
    return list(zip(map(bytes.lower, fields[::2]), fields[1::2], strict=True))


def judge_head(
    version: str, url: bytes, headers: list[tuple[bytes, bytes]], received: int, limits: ServerOptions
) -> dict[bytes, bytes]:
    """The headers by name, of repeated ones the last. Raises a GatewayError on what no request of ours may hold.

    The parser lets no second content-length pass. `received` bytes came while the head was read; its exact size is only counted where they are too many.
    """
    if len(headers) > limits.max_headers:
        raise HeadersTooLarge
    if received > limits.max_header and head_size(url, headers) > limits.max_header:
        raise HeadersTooLarge
    if version not in ("1.1", "1.0"):
        raise InvalidRequest("Speak HTTP/1.1.")
    named = dict(headers)
    if int(named.get(b"content-length", 0)) > limits.max_body:
        raise RequestTooLarge
    if b"transfer-encoding" in named:
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if version == "1.0" or codings != [b"chunked"]:
            raise InvalidRequest("This transfer-encoding is not supported.")
    if len(named) < len(headers) and [name for name, _ in headers].count(b"host") > 1:
        raise InvalidRequest("Send one Host header.")
    return named


def head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """Bytes, with colon, blank and line end."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


@lru_cache(maxsize=256)
def split_target(url: bytes) -> tuple[str, bytes, bytes]:
    """Decoded path, raw path and query; of an absolute URL only these count."""
    parsed = httptools.parse_url(url)
    raw_path = parsed.path or b"/"
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""


def head_without(
    unwanted: bytes, method: bytes, url: bytes, version: str, headers: list[tuple[bytes, bytes]]
) -> bytes:
    """The head as it could have been sent without one header."""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    lines += [name + b": " + value for name, value in headers if name != unwanted]
    return b"\r\n".join([*lines, b"", b""])
