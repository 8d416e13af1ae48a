"""sluice migrate: brings the database to this release's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from app.cli.options import config_option
from app.settings import load
from app.store import migrate as schema
from app.store.location import Location

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--to", default="head", metavar="REV", help="Another revision than the newest; `base` empties.")
@config_option
def migrate(config: Path | None, to: str) -> None:
    """Bring the database to the newest schema, or to REV; a missing SQLite file is created.

    Example: sluice migrate
    """
    url = load(config, yes_open=True).database_url.get_secret_value()
    schema.migrate(url, to)
    click.echo(f"{Location(url)} has schema {schema.current(url) or 'none'}")
