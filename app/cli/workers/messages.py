"""What the supervisor and its workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.core.endpoint import EndpointSpec
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """The first word to a worker: who it is and where it listens; `data` is an inherited descriptor."""

    seat: int
    settings: Settings
    data: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker accepts calls."""


@dataclass(frozen=True, slots=True)
class Alive:
    """Its event loop runs; said every so often."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker's question to an endpoint."""

    number: int
    spec: EndpointSpec
    path: str
    timeout: float
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Heard:
    """Its answer: status and body, or in one word why there is none."""

    number: int
    answer: tuple[int, bytes] | str


@dataclass(frozen=True, slots=True)
class News:
    """Another worker has just heard from the endpoint there; the answer can be had for a moment."""

    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Cut:
    """End the running calls of a key or a tenant."""

    owner: str


@dataclass(frozen=True, slots=True)
class WantReload:
    """An operator asked a worker for a reload."""

    number: int


@dataclass(frozen=True, slots=True)
class Reload:
    """Take these settings, which are known to be good; None: the file is bad, stay as you are."""

    number: int
    settings: Settings | None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A worker has taken them."""

    number: int


@dataclass(frozen=True, slots=True)
class ReloadEnded:
    """Every worker has; or, in `refused`, why none does, with the key that is wrong."""

    number: int
    refused: str | None = None
    param: str | None = None


def socket_of(folder: Path, seat: int) -> Path:
    """Where the worker on a seat answers what operators ask."""
    return folder / f"{seat}.sock"


def lock_of(folder: Path) -> Path:
    """What the workers take turns by when they write to standard output."""
    return folder / "stdout.lock"
