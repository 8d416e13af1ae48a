"""A request becomes bytes; no header can smuggle a line in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.reply import Outbound

_FRAMED = ("POST", "PUT", "PATCH")


def encode_head(outbound: Outbound, authority: str) -> bytes:
    """Raises ValueError when a part of the head holds a line break or is not Latin-1."""
    method, body = outbound.method, outbound.body
    lines = [f"{method} {outbound.path} HTTP/1.1", f"host: {authority}", *map(": ".join, outbound.headers)]
    if body or method in _FRAMED:
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError("a header holds a line break")
    return head.encode("latin-1")
