"""Soft ejection: endpoints worse than their peers rest a while, but never too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOBODY: frozenset[str] = frozenset()


class EjectionOptions(BaseModel):
    """`max_ejected`: percent of a pool; beyond it nobody is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ejected: float = Field(default=50.0, ge=0, le=100)


class Ejection:
    """Who is out, and until when. Panic: when too many are, all of them are used again.

    `panic` is the answer to the last question. Open breakers and down endpoints are no business of this.
    """

    def __init__(self, options: EjectionOptions) -> None:
        self._max_share = options.max_ejected / 100
        self._until: dict[str, float] = {}
        self.panic = False

    def eject(self, name: str, until: float | None = None) -> None:
        """`until` is monotonic; None: until restored."""
        self._until[name] = float("inf") if until is None else until

    def restore(self, name: str) -> None:
        """Harmless when it is not out."""
        self._until.pop(name, None)

    def ejected(self, names: Iterable[str], now: float) -> frozenset[str]:
        """Those of `names`, a whole pool, to leave out now."""
        self.panic = False
        if not self._until:
            return _NOBODY
        pool = frozenset(names)
        out = frozenset(name for name in pool if self._until.get(name, now) > now)
        self.panic = len(out) > self._max_share * len(pool)
        return _NOBODY if self.panic else out

    def __repr__(self) -> str:
        return f"<Ejection out={sorted(self._until)} panic={self.panic}>"
