"""sluice backup and restore: a SQLite database and its secret in one file."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import config_option
from app.settings import load
from app.store import backup as store
from app.store.location import Location

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@_file
@config_option
def backup(config: Path | None, file: Path) -> None:
    """Copy the database, which may be in use, with its secret into FILE; keep that as you keep secrets.

    Example: sluice backup /backups/sluice-monday.tar
    """
    url = load(config, yes_open=True).database_url.get_secret_value()
    store.backup(url, file)
    click.echo(f"{Location(url)} is in {file}")


@click.command()
@_file
@click.option("--replace", is_flag=True, help="Give up the database that is there.")
@config_option
def restore(config: Path | None, file: Path, replace: bool) -> None:
    """Put the database and the secret of FILE in their places; no gateway may be running on them.

    Example: sluice restore /backups/sluice-monday.tar --replace
    """
    url = load(config, yes_open=True).database_url.get_secret_value()
    store.restore(url, file, replace=replace)
    click.echo(f"{Location(url)} is what {file} holds")
