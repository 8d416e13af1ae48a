"""Completion chunks that go into an assembly instead of to the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.wire.chunks import Chunks
from app.wire.edit import Fate

if TYPE_CHECKING:
    from app.core.surface import Dialect
    from app.wire.assembly import Assembly
    from app.wire.meter import Meter


class Gathering(Chunks):
    """Meters every event as Chunks does, decodes it, and forwards none."""

    __slots__ = ("_assembly",)

    def __init__(self, dialect: Dialect, meter: Meter, assembly: Assembly, *, choices: int) -> None:
        super().__init__(dialect, meter, model=None, wanted="continuous", choices=choices)
        self._assembly = assembly

    def splice(self, event: bytes) -> bytes | None:
        """Never: every event is needed whole."""
        return None

    def edit(self, event: bytes, content: dict[str, Any]) -> Fate:
        self._assembly.add(content)
        super().edit(event, content)
        return Fate.DROP
