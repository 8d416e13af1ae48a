"""Lists a page at a time: an opaque cursor says after which row to go on."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.core.errors import InvalidRequest

Row = TypeVar("Row")
LIMIT = 100
MOST = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`next_cursor` is None on the last page."""

    rows: list[Row]
    next_cursor: str | None = None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


def bounded(limit: int | None) -> int:
    """The number of rows a page holds; raises InvalidRequest."""
    if limit is not None and limit < 1:
        raise InvalidRequest("limit must be at least 1.", param="limit")
    return min(limit or LIMIT, MOST)


def encode_cursor(*values: float | str) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """The values that `encode_cursor` was given; raises InvalidRequest for anything else."""
    try:
        values = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        values = None
    if (
        not isinstance(values, list)
        or [type(value) for value in values] != list(types)
        or not all(map(_storable, values))
    ):
        raise InvalidRequest("This cursor is not one that a list gave out.", param="cursor")
    return tuple(values)


def _storable(value: Any) -> bool:
    """Whether both databases can compare a column with it."""
    if isinstance(value, str):
        return value.isprintable()
    return bool(abs(value) < 2**63)


def cut(rows: list[Row], limit: int, *position: str) -> Page[Row]:
    """A page of `limit` rows out of `limit` + 1 fetched; `position` are the attributes that order them."""
    if len(rows) <= limit:
        return Page(rows)
    last = rows[limit - 1]
    return Page(rows[:limit], encode_cursor(*(getattr(last, name) for name in position)))
