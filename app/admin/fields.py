"""Kinds of fields that operators send: names, moments, spans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, BeforeValidator, Field

from app.core.units import Seconds

_YEAR_9999 = 253_402_300_800
_LONGEST_SPAN = 366 * 86_400.0


def _printable(text: str) -> str:
    """Raises ValueError for what no database, log line or terminal should have to bear."""
    if not text.isprintable():
        raise ValueError("should hold printable characters only")
    return text


def _trimmed(text: str) -> str:
    if text != text.strip():
        raise ValueError("should not begin or end with a space")
    return text


def _moment(value: object) -> object:
    """Seconds since the epoch, from a number or from ISO 8601; without a zone it is UTC."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("write it as seconds since 1970 or as 2026-03-29T10:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


Text = Annotated[str, Field(max_length=256), AfterValidator(_printable)]
Name = Annotated[
    str, Field(min_length=1, max_length=128), AfterValidator(_printable), AfterValidator(_trimmed)
]
Moment = Annotated[float, BeforeValidator(_moment), Field(ge=0, lt=_YEAR_9999)]
Span = Annotated[Seconds, Field(le=_LONGEST_SPAN)]
Id = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,128}$")]
