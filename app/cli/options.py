"""Options that several commands share, and how their values are written."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.core.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = {
    "rpm": ("requests_per_minute", "Requests per minute."),
    "tpm": ("tokens_per_minute", "Tokens per minute, prompt and completion together."),
    "concurrency": ("concurrency", "Calls at the same time."),
    "tokens_per_day": ("tokens_per_day", "Tokens per day of the ledger's timezone."),
    "tokens_per_month": ("tokens_per_month", "Tokens per month."),
    "requests_burst": ("requests_burst", "Requests that --rpm lets through at once; else a minute's."),
    "tokens_burst": ("tokens_burst", "Tokens that --tpm lets through at once; else a minute's."),
}

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; else SLUICE_CONFIG, else ./sluice.yaml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_open_option = click.option(
    "--yes-open", is_flag=True, help="Allow auth.mode open on an address that others can reach."
)


class Limit(click.ParamType[int | str]):
    """A whole number, or `none`."""

    name = "n|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value).strip().lower()
        if text == "none":
            return text
        if not (text.isascii() and text.isdecimal()):
            self.fail(f"{value!r} is neither a whole number nor none", param, ctx)
        return int(text)


class Duration(click.ParamType[float]):
    """Seconds, written as in the configuration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(str(parse_duration(value)))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--rpm and its like; `none` is unlimited."""
    for name, (_, text) in reversed(LIMITS.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=Limit(), metavar="N|none", help=text)(
            command
        )
    return command


def limits_given(given: dict[str, Any]) -> dict[str, int | None]:
    """The limits among a command's options, by the names of Limits; None lifts one."""
    limits = {long: given.get(short) for short, (long, _) in LIMITS.items()}
    return {name: None if value == "none" else value for name, value in limits.items() if value is not None}


def models_given(text: str) -> list[str] | None:
    """`a,b` are those, `all` is None, nothing at all is none of them."""
    return None if text.strip() == "all" else [name.strip() for name in text.split(",") if name.strip()]


def moment(text: str, timezone: str, *, ahead: bool) -> float:
    """A date, a time, or a duration from now on (`ahead`) or up to now, as seconds since the epoch.

    What names no zone is of `timezone`. Raises UsageError.
    """
    try:
        duration = float(str(parse_duration(text)))
    except ValueError:
        pass
    else:
        return time.time() + (duration if ahead else -duration)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{text!r} is no moment: write 2026-11-01, 2026-11-01T08:00+01:00 or 30d"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(timezone))).timestamp()
