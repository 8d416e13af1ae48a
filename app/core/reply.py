"""A reply: a head, and a body that arrives; a JSON answer is a stream of one chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Content(Protocol):
    """Pulled by exactly one reader; closing is synchronous, so that no cancellation can cut it."""

    async def read(self) -> bytes:
        """Whatever has arrived, at least one byte; b"" once the body has ended as its framing says.

        A body without framing ends where the connection does: whether it is complete only its content tells.

        Raises a GatewayError when the body ends in any other way than completely.
        """
        ...

    @property
    def ended(self) -> bool:
        """It is complete, and has been read; true at the latest once nothing was read."""
        ...

    def close(self) -> None:
        """Idempotent. Before the end of the body it drops the connection at once."""
        ...


class Body(Content, Protocol):
    """What an endpoint sends."""

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """Offer a piece that comes while `read` waits to `take` first: what that takes is not read.

        Saves waking the reader for every piece; a body that cannot do so reads on as before.
        """
        ...


class Straight(Protocol):
    """The way to a caller that waits for nothing."""

    def ready(self) -> bool:
        """Whether `write` may be called now: the caller takes what it is sent."""
        ...

    def write(self, piece: bytes) -> None:
        """A piece of the answer's body, which is not its end."""
        ...


class Way(Straight, Protocol):
    """The way from and to a caller: what is there already, and pieces of an answer."""

    def body(self) -> bytes | None:
        """All of the request's body, once; None where it is not here yet, or must be asked for."""
        ...


class Reply(Struct, eq=False):
    """`headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: Body


class Served(Struct, eq=False):
    """What the line has for the caller; its content must be read to the end or closed."""

    headers: Mapping[str, str]
    body: Content


class Outbound(Struct, frozen=True):
    """A request as it goes to an endpoint: our path, our headers, our bytes."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
