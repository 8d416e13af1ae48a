"""A request becomes bytes; no header can smuggle a line in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.core.reply import Outbound

_FRAMED = ("POST", "PUT", "PATCH")


def encode_head(outbound: Outbound, authority: str) -> bytes:
    """Raises ValueError when a part of the head holds a line break or is not Latin-1."""
    lines = [f"{outbound.method} {outbound.path} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in outbound.headers]
    if outbound.body or outbound.method in _FRAMED:
        lines.append(f"content-length: {len(outbound.body)}")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line break")
    return f"{head}\r\n\r\n".encode("latin-1")
