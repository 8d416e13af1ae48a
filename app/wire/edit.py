"""What becomes of an event, and the socket for those who decide it."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol

UNFINISHED = frozenset({"abort", "error"})
"""Finish reasons of an engine that gave up."""


class Fate(Enum):
    """KEEP: send it as it came. EDITED: send it anew. DROP: not for the caller. END: edited, held to the end."""

    KEEP = "keep"
    EDITED = "edited"
    DROP = "drop"
    END = "end"


class Codec(Protocol):
    """How one dialect's events are read and edited; told of every event once, in order."""

    finish: str | None
    """Why the model stopped, in the engine's words; abort and error outrank other choices' reasons."""
    useful: bool
    """Something came that the model made, or the word that it is done; not a role, a ping or a usage alone."""

    @property
    def satisfied(self) -> bool:
        """Every choice was seen to finish, none by abort or error."""
        ...

    def splice(self, event: bytes) -> bytes | None:
        """The edited event, without decoding it; None: not of the shape this is safe for.

        With its blank line or without: it stays at the end.
        """
        ...

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        """Reads, and edits in place, an event's decoded content."""
        ...


def rename(holder: Any, model: str | None) -> bool:
    """Puts `model` in the place of the object's model name; whether anything changed."""
    if model is None or not isinstance(holder, dict) or holder.get("model", model) == model:
        return False
    holder["model"] = model
    return True
