"""sluice config: what is in force, what may be written, and what a reload of another file would change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from app.cli.options import config_option, json_option
from app.cli.tables import show, show_json
from app.settings import diff, load, masked, schema

if TYPE_CHECKING:
    from app.cli.tables import Columns

_RELOADED = re.compile(
    r"vllm_endpoints\b|vllm\b|model_config\b(?!.*\.price)|routing\.(?!session_header)"
    r"|resilience\.(?!retry\.budget)|server\.(shedding|max_body_in_flight)\b"
)
"""What a running gateway takes over; the rest is read at its start."""


@click.group()
def config() -> None:
    """Show the configuration, its schema, or what a file would change."""


@config.command("show")
@config_option
@json_option
def show_(config: Path | None, as_json: bool) -> None:
    """Print the effective configuration, defaults and environment included; secrets are masked.

    Example: sluice config show --config sluice.yaml
    """
    document = masked(load(config, yes_open=True))
    if as_json:
        show_json(document)
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


@config.command("schema")
def schema_() -> None:
    """Print the JSON Schema of a configuration file.

    Example: sluice config schema > sluice.schema.json
    """
    show_json(schema())


@config.command("diff")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def diff_(config: Path | None, as_json: bool, file: Path) -> None:
    """List what differs in FILE, and whether a reload is enough for it.

    Example: sluice config diff next.yaml
    """
    changes = diff(load(config, yes_open=True), load(file, yes_open=True))
    rows = [
        {
            "path": change.path,
            "old": _plain(change.old),
            "new": _plain(change.new),
            "takes": "reload" if _RELOADED.match(change.path) else "restart",
        }
        for change in changes
    ]
    columns: Columns = {
        "path": lambda row: row["path"],
        "old": lambda row: str(row["old"]),
        "new": lambda row: str(row["new"]),
        "takes": lambda row: row["takes"],
    }
    show(rows, columns, as_json=as_json, none="Nothing differs.")


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
