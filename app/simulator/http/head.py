"""The first lines of an answer: status, date, server, and the rest in uvicorn's order."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http.client import responses

Pairs = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1024)
def status_line(status: int) -> bytes:
    """Phrases are the standard ones; a status nobody has named gets an empty phrase."""
    return f"HTTP/1.1 {status} {responses.get(status, '')}\r\n".encode()


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def head(status: int, pairs: Pairs) -> bytes:
    """Status line, `date`, `server`, then `pairs` as given, then the blank line."""
    lines = [f"date: {_date(int(time.time()))}\r\nserver: uvicorn\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in pairs]
    return status_line(status) + "".join(lines).encode("latin-1", "replace") + b"\r\n"


def chunk(payload: bytes) -> bytes:
    """One chunk of a chunked body; the empty payload is its end."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)
