"""Durations and sizes as people write them: 30s, 10m, 0.5; 10MiB, 64k."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*")


def _parse(value: object, units: dict[str, float] | dict[str, int], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"write it as {example}")
    return float(match[1]) * units[match[2].lower()]


def parse_duration(value: object) -> object:
    """Seconds; numbers pass unchanged. Raises ValueError."""
    return _parse(value, _SECONDS, "30s, 10m or 0.5")


def parse_size(value: object) -> object:
    """Bytes; numbers pass unchanged. Raises ValueError."""
    parsed = _parse(value, _BYTES, "10MiB or 65536")
    return int(parsed) if isinstance(parsed, float) else parsed


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
