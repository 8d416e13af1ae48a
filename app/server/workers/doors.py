"""How a supervisor asks one of its workers what an operator asked it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager


class Unanswered(Exception):
    """The worker died, hangs, or talks nonsense."""


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is path and query as they came; `path` is decoded."""

    method: str
    path: str
    target: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """`chunks` can be read once and raises Unanswered when it breaks off."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply read to its end, and from whom it is."""

    seat: int
    pid: int
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Door(Protocol):
    """One worker's operators' edge."""

    @property
    def seat(self) -> int: ...

    @property
    def pid(self) -> int: ...

    def ask(self, request: Request, patience: float) -> AbstractAsyncContextManager[Reply]:
        """`patience`: seconds for each part of the answer to arrive. Raises Unanswered."""
        ...
