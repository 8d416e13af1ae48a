"""sluice usage and prune: the ledger, summed up and kept short."""

from __future__ import annotations

import csv
import json
import sys
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from app.cli.backend import Backend, Document, ask, which_usage
from app.cli.calls import calls
from app.cli.options import config_option, json_option, moment
from app.cli.reconcile import reconcile
from app.cli.tables import show
from app.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from app.cli.tables import Columns

GROUPS = ("tenant", "key", "model", "endpoint", "surface", "hour", "day", "month")
_SUMS = {
    "requests": "requests",
    "errors": "errors",
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "completion": "completion_tokens",
    "reasoning": "reasoning_tokens",
    "total": "total_tokens",
}


@click.group(invoke_without_command=True)
@click.option("--tenant", help="Name or id.")
@click.option("--model")
@click.option("--from", "start", metavar="WHEN", help="2026-11-01, or 7d: the last seven days.")
@click.option("--to", "end", metavar="WHEN", help="Until then; that moment is not included.")
@click.option("--group-by", default="tenant,model", show_default=True, help=f"Of {', '.join(GROUPS)}.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "jsonl"]), default="table")
@config_option
@json_option
@click.pass_context
def usage(
    ctx: click.Context,
    /,
    config: Path | None,
    as_json: bool,
    group_by: str,
    form: str,
    **which: str | None,
) -> None:
    """Sum up requests and tokens; calls that still run are not in it.

    Dates are of the ledger's timezone.

    Example: sluice usage --from 30d --group-by tenant,day --format csv
    """
    if ctx.invoked_subcommand is not None:
        return
    groups = [name.strip() for name in group_by.split(",") if name.strip()]
    for name in groups:
        if name not in GROUPS:
            raise click.UsageError(f"--group-by knows no {name!r}; it takes {', '.join(GROUPS)}")
    rows = ask(config, lambda backend: _sums(backend, groups, which))
    if form == "csv" and not as_json:
        _print_csv(rows)
    elif form == "jsonl" and not as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    else:
        show(rows, _columns(groups), as_json=as_json, none="Nothing was used.")


@click.command()
@click.option("--before", metavar="WHEN", help="2026-01-01, or 400d ago; else ledger.retention.")
@config_option
def prune(config: Path | None, before: str | None) -> None:
    """Delete the ledger's rows of calls that began before WHEN; sums keep what they used.

    Example: sluice prune --before 400d
    """

    async def pruned(backend: Backend) -> int:
        if before is None:
            return await backend.prune(time.time() - load(config, yes_open=True).ledger.retention)
        return await backend.prune(moment(before, await backend.timezone(), ahead=False))

    click.echo(f"deleted {ask(config, pruned)} rows")


usage.add_command(calls)
usage.add_command(reconcile)
usage.add_command(prune)


async def _sums(backend: Backend, groups: list[str], which: Mapping[str, str | None]) -> list[Document]:
    rows = await backend.usage(await which_usage(backend, **which), groups)
    if "tenant" not in groups:
        return rows
    named = {row["id"]: row["name"] for row in await backend.tenants()}
    return [{"tenant": named.get(row["tenant_id"], ""), **row} for row in rows]


def _columns(groups: list[str]) -> Columns:
    sums: Columns = {heading: itemgetter(field) for heading, field in _SUMS.items()}
    return {**{name: _group(name) for name in groups}, **sums, "cost": lambda row: f"{row['cost']:.4f}"}


def _group(name: str) -> Callable[[Mapping[str, Any]], object]:
    """A deleted tenant has no name left, only its id."""
    if name == "tenant":
        return lambda row: row["tenant"] or row["tenant_id"]
    return itemgetter("key_id" if name == "key" else name)


def _print_csv(rows: list[Document]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
