"""Files of keys from elsewhere: a CSV with a heading, or a secret a line. Pure."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.cli.failure import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_COLUMNS = ("secret", "tenant", "name", "models", "expires_at")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_SHORTEST = 8


@dataclass(frozen=True, slots=True)
class Import:
    """`secret` is the key in plain, or the 32 bytes of its SHA-256."""

    line: int
    tenant: str
    secret: str | bytes
    fields: Mapping[str, Any]


def read_imports(lines: Iterable[str], tenant: str | None) -> list[Import]:
    """`tenant` owns the keys of lines that name none. Raises Failed with every line that is wrong."""
    rows: list[Import] = []
    wrong: list[str] = []
    heading: list[str] | None = None
    reader = csv.reader(lines, skipinitialspace=True)
    for cells in reader:
        if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
            continue
        if heading is None:
            heading = _heading(cells)
            if heading is not None:
                continue
            heading = ["secret"]
        try:
            rows.append(_read(dict(zip(heading, cells, strict=True)), reader.line_num, tenant))
        except ValueError as error:
            wrong.append(f"line {reader.line_num}: {_plain(error, heading)}")
    if wrong:
        raise Failed("\n".join(wrong))
    return rows


def _heading(cells: list[str]) -> list[str] | None:
    """None when the first line is a key already."""
    names = [cell.strip().lower() for cell in cells]
    if "secret" not in names:
        return None
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown:
        raise Failed(f"unknown column {unknown[0]!r}; known: {', '.join(_COLUMNS)}")
    return names


def _read(row: dict[str, str], line: int, tenant: str | None) -> Import:
    cells = {name: cell.strip() for name, cell in row.items() if cell.strip()}
    owner = cells.pop("tenant", tenant)
    if owner is None:
        raise ValueError("names no tenant; add a column `tenant`, or say --tenant")
    text = cells.pop("secret", "")
    if len(text) < _SHORTEST or not text.isascii() or " " in text:
        raise ValueError(f"a secret has {_SHORTEST} or more characters, ASCII and without spaces")
    fields: dict[str, Any] = dict(cells)
    if "models" in fields:
        fields["models"] = [name.strip() for name in cells["models"].split(";") if name.strip()]
    return Import(line, owner, bytes.fromhex(text) if _SHA256.fullmatch(text) else text, fields)


def _plain(error: ValueError, heading: list[str]) -> str:
    """A row of another length is the reader's word for it."""
    return f"has not {len(heading)} columns" if str(error).startswith("zip()") else str(error)
