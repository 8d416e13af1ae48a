"""Lists as operators get them: a page, whether there is more, and where that begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from app.admin.fields import Text
from app.store.page import bounded, decode_cursor, encode_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from app.store.page import Page

Row = TypeVar("Row")
Shown = TypeVar("Shown")


class PageQuery(BaseModel, frozen=True, extra="forbid"):
    """`limit`: 100 if not given, 1000 at most. `cursor`: the `next_cursor` of the page before."""

    limit: Annotated[int, Field(ge=1)] | None = None
    cursor: Text | None = None


class Listing(BaseModel, Generic[Row]):
    """`next_cursor` is null on the last page."""

    object: Literal["list"] = "list"
    data: list[Row]
    has_more: bool = False
    next_cursor: str | None = None


def listing(page: Page[Row], shown: Callable[[Row], Shown]) -> Listing[Shown]:
    """A page of the store, each row as it is shown."""
    return Listing(
        data=[shown(row) for row in page.rows], has_more=page.has_more, next_cursor=page.next_cursor
    )


def window(
    rows: Iterable[Mapping[str, Any]], page: PageQuery, moment: str, name: str
) -> Listing[dict[str, Any]]:
    """A page of rows in memory, ordered by a time and a name, so that it holds while others come and go."""
    size = bounded(page.limit)
    ordered = sorted((dict(row) for row in rows), key=lambda row: (row[moment], row[name]))
    if page.cursor is not None:
        after = decode_cursor(page.cursor, float, str)
        ordered = [row for row in ordered if (row[moment], row[name]) > after]
    more = len(ordered) > size
    data = ordered[:size]
    return Listing(
        data=data,
        has_more=more,
        next_cursor=encode_cursor(float(data[-1][moment]), data[-1][name]) if more else None,
    )
