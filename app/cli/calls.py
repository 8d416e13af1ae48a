"""sluice usage calls: the ledger's rows, as many as there are, without keeping them."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING

import click

from app.cli.backend import Backend, ask, which_usage
from app.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--tenant", help="Name or id.")
@click.option("--model")
@click.option("--endpoint")
@click.option("--from", "start", metavar="WHEN", help="2026-11-01, or 7d: the last seven days.")
@click.option("--to", "end", metavar="WHEN", help="Until then; that moment is not included.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="jsonl", show_default=True)
@config_option
def calls(config: Path | None, form: str, **which: str | None) -> None:
    """Print the ledger's rows, newest first, also those of calls that still run.

    Example: sluice usage calls --from 1d --format csv
    """

    async def printed(backend: Backend) -> None:
        writer = None
        async for row in backend.calls(
            await which_usage(backend, **{name: text or None for name, text in which.items()})
        ):
            if form == "jsonl":
                click.echo(json.dumps(row, ensure_ascii=False))
                continue
            if writer is None:
                writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)

    ask(config, printed)
