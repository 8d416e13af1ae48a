"""Rows as a table that people like to read, or as JSON for everybody else."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Columns = Mapping[str, Callable[[Mapping[str, Any]], object]]

_UNBROKEN = 10_000
"""Columns of a table that nobody sees on a screen: lines of a file are not broken."""
_WHOLE = frozenset({"id", "state"})
_GOOD = frozenset({"ok", "enabled", "up"})
_BAD = frozenset({"failed", "disabled", "down", "expired"})


def show(rows: Sequence[Mapping[str, Any]], columns: Columns, *, as_json: bool, none: str) -> None:
    """`columns`: heading -> what a row shows there. `none` is said, on stderr, when there are no rows."""
    if as_json:
        show_json(rows)
    elif not rows:
        click.echo(none, err=True)
    else:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in columns:
            numbers = all(isinstance(columns[heading](row), int | float | None) for row in rows)
            table.add_column(
                heading,
                justify="right" if numbers else "left",
                overflow="fold",
                no_wrap=heading in _WHOLE,
            )
        for row in rows:
            table.add_row(*(_cell(value(row)) for value in columns.values()))
        width = None if sys.stdout.isatty() else _UNBROKEN
        Console(file=sys.stdout, highlight=False, width=width).print(table)


def show_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def when(seconds: float | None) -> str:
    """A moment in UTC, to the minute."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def names(values: Sequence[str] | None) -> str:
    """Models that are granted."""
    if values is None:
        return "all"
    return ", ".join(values) or "none"


def _cell(value: object) -> Text:
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return Text(text, style="green" if text in _GOOD else "red" if text in _BAD else "")
