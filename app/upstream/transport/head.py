"""The head of a reply is believed only if its status and framing leave no doubt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from app.core.failures import BadUpstream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.upstream.transport.options import TransportOptions

_BODILESS = (204, 304)
_MAX_DIGITS = 18


def headers_of(fields: Sequence[bytes]) -> dict[str, str]:
    """By lower-case name; values of repeated ones joined by ", ".

    `fields`: a name, its value, the next name and so on, as a parser gives them, none with a line break.
    """
    if not fields:
        return {}
    names = b"\n".join(fields[::2]).decode("latin-1").lower().split("\n")
    values = b"\n".join(fields[1::2]).decode("latin-1").split("\n")
    headers = dict(zip(names, values, strict=True))
    if len(headers) < len(names):
        headers.clear()
        for name, value in zip(names, values, strict=True):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def judge(status: int, headers: Mapping[str, str], options: TransportOptions) -> tuple[bool, int]:
    """(framed, room): whether the body's end can be told from a cut, and how many bytes it may have.

    Raises BadUpstream. Repeated headers have been joined by ", ".
    """
    if not 200 <= status <= 599:
        raise BadUpstream("The endpoint answered with an impossible status.")
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise BadUpstream("The endpoint compressed its answer although it was told not to.")
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None and (length is not None or coding.lower() != "chunked"):
        raise BadUpstream("The endpoint framed its answer ambiguously.")
    streams = headers.get("content-type", "").lower().startswith("text/event-stream")
    room = sys.maxsize if streams else options.max_body
    if length is not None:
        if not length.isdecimal() or not length.isascii():
            raise BadUpstream("The endpoint framed its answer ambiguously.")
        if len(length) > _MAX_DIGITS or int(length) > room:
            raise BadUpstream("The endpoint's answer is too large.")
    return length is not None or coding is not None or status in _BODILESS, room
