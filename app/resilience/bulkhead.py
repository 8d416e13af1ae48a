"""A bulkhead: no endpoint ever has more of our calls in flight than it was given room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from app.core.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.outcome import Settlement


class BulkheadOptions(BaseModel):
    """Counted per endpoint and gateway process."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    max_concurrent_calls: int = Field(
        default=256, ge=1, validation_alias=AliasChoices("max_concurrent_calls", "max_concurrent")
    )


class Bulkhead:
    """A gate that counts calls to their last byte; `on_free` hears of every place given back.

    `limit` may be changed at any time: lowered, running calls stay and new ones wait for the surplus to go.
    """

    __slots__ = ("_on_free", "inflight", "limit")

    def __init__(self, options: BulkheadOptions, on_free: Callable[[], None] | None = None) -> None:
        self.limit = options.max_concurrent_calls
        self.inflight = 0
        self._on_free = on_free

    @property
    def ready(self) -> bool:
        return self.inflight < self.limit

    def admit(self, call: Call) -> Place:
        """Raises Overloaded when every place is taken."""
        if self.inflight >= self.limit:
            raise Overloaded
        self.inflight += 1
        return Place(self)

    def free(self) -> None:
        """Take one place back and say so; for `Place` alone."""
        self.inflight -= 1
        if self._on_free is not None:
            self._on_free()

    def __repr__(self) -> str:
        return f"<Bulkhead {self.inflight}/{self.limit}>"


class Place(Struct, eq=False):
    """One call's room; given back once, however often it is told of the end."""

    _bulkhead: Bulkhead | None

    def answered(self) -> None:
        """An answer that has begun still takes room."""

    def __call__(self, settlement: Settlement) -> None:
        bulkhead, self._bulkhead = self._bulkhead, None
        if bulkhead is not None:
            bulkhead.free()
