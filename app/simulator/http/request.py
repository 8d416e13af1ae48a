"""One request as it was read off the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """Method, target, headers (names in lower case) and the whole body."""

    method: str
    target: bytes
    http_version: str = "1.1"
    keep_alive: bool = True
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    @property
    def path(self) -> str:
        return unquote(self.target.partition(b"?")[0].decode("latin-1"))

    @property
    def query(self) -> str:
        return self.target.partition(b"?")[2].decode("latin-1")

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return parse_qs(self.query).get(name, [None])[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, its bytes read as Latin-1."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)
