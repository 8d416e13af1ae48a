"""sluice tenants: who pays, and how much they may use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from app.cli.backend import Backend, Document, ask, find_tenant
from app.cli.options import (
    config_option,
    json_option,
    limit_options,
    limits_given,
    models_given,
)
from app.cli.tables import names, show, show_json, when

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from app.cli.tables import Columns


def _limit(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: row["limits"].get(name)


COLUMNS: Columns = {
    "name": lambda row: row["name"],
    "id": lambda row: row["id"],
    "state": lambda row: "disabled" if row["disabled"] else "enabled",
    "RPM": _limit("requests_per_minute"),
    "TPM": _limit("tokens_per_minute"),
    "at once": _limit("concurrency"),
    "tokens/day": _limit("tokens_per_day"),
    "tokens/month": _limit("tokens_per_month"),
    "models": lambda row: names(row["models"]),
}

_fields = (
    click.option("--models", metavar="A,B|all", help="Models it may use; '' for none of them."),
    click.option("--priority", type=int, help="Lower is served first."),
    click.option("--strict/--no-strict", default=None, help="Reserve all that an answer may take."),
)


@click.group()
def tenants() -> None:
    """Create, limit, disable and list tenants. TENANT is a name or an id."""


def _tell(row: Document, *, as_json: bool) -> None:
    if as_json:
        show_json(row)
    else:
        show([row], COLUMNS, as_json=False, none="")


@tenants.command()
@click.argument("name")
@limit_options
@_fields[0]
@_fields[1]
@_fields[2]
@config_option
@json_option
def create(config: Path | None, as_json: bool, name: str, **given: Any) -> None:
    """Make a tenant.

    Example: sluice tenants create team-a --rpm 600 --models qwen3,llama
    """
    fields = {"name": name, **_changes(given)}
    _tell(ask(config, lambda backend: backend.create_tenant(fields)), as_json=as_json)


@tenants.command("list")
@config_option
@json_option
def list_(config: Path | None, as_json: bool) -> None:
    """List the tenants.

    Example: sluice tenants list --json
    """
    rows = ask(config, lambda backend: backend.tenants())
    show(rows, COLUMNS, as_json=as_json, none="There are no tenants: sluice tenants create NAME")


@tenants.command("show")
@click.argument("tenant")
@config_option
@json_option
def show_(config: Path | None, as_json: bool, tenant: str) -> None:
    """Show a tenant with everything it was given.

    Example: sluice tenants show team-a
    """
    row = ask(config, lambda backend: find_tenant(backend, tenant))
    if as_json:
        show_json(row)
        return
    table = {"field": lambda pair: pair["field"], "value": lambda pair: pair["value"]}
    show(
        [{"field": name, "value": value} for name, value in _told(row).items()], table, as_json=False, none=""
    )


@tenants.command()
@click.argument("tenant")
@click.option("--name", help="A new name.")
@limit_options
@_fields[0]
@_fields[1]
@_fields[2]
@config_option
@json_option
def update(config: Path | None, as_json: bool, tenant: str, name: str | None, **given: Any) -> None:
    """Change what is named, leave the rest; a limit of `none` is lifted.

    Example: sluice tenants update team-a --rpm 1200 --tpm none
    """
    changes = _changes(given) | ({} if name is None else {"name": name})
    if not changes:
        raise click.UsageError("say what to change")
    _tell(_changed(config, tenant, changes), as_json=as_json)


@tenants.command()
@click.argument("tenant")
@config_option
@json_option
def disable(config: Path | None, as_json: bool, tenant: str) -> None:
    """Refuse its keys until it is enabled again; running calls finish.

    Example: sluice tenants disable team-a
    """
    _tell(_changed(config, tenant, {"disabled": True}), as_json=as_json)


@tenants.command()
@click.argument("tenant")
@config_option
@json_option
def enable(config: Path | None, as_json: bool, tenant: str) -> None:
    """Let its keys open again.

    Example: sluice tenants enable team-a
    """
    _tell(_changed(config, tenant, {"disabled": False}), as_json=as_json)


@tenants.command()
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def delete(config: Path | None, tenant: str, yes: bool) -> None:
    """Revoke all its keys and forget it; its usage stays in the ledger.

    Example: sluice tenants delete team-a --yes
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Revoke all keys of {tenant!r} for good?", abort=True)

    async def deleted(backend: Backend) -> Document:
        row = await find_tenant(backend, tenant)
        await backend.delete_tenant(row["id"])
        return row

    row = ask(config, deleted)
    click.echo(f"deleted {row['name']} ({row['id']})")


def _changed(config: Path | None, tenant: str, changes: dict[str, Any]) -> Document:
    async def changed(backend: Backend) -> Document:
        return await backend.update_tenant((await find_tenant(backend, tenant))["id"], changes)

    return ask(config, changed)


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if limits := limits_given(given):
        changes["limits"] = limits
    if given["models"] is not None:
        changes["models"] = models_given(given["models"])
    if given["priority"] is not None:
        changes["priority"] = given["priority"]
    if given["strict"] is not None:
        changes["strict"] = given["strict"]
    return changes


def _told(row: Document) -> dict[str, Any]:
    """A line per limit and field."""
    unlimited = {name: "unlimited" if value is None else value for name, value in row["limits"].items()}
    by_model = {
        f"{model}: {name}": value
        for model, limits in row["model_limits"].items()
        for name, value in limits.items()
        if value is not None
    }
    plain = {name: row[name] for name in ("id", "name")}
    state = {"state": "disabled" if row["disabled"] else "enabled", "priority": row["priority"]}
    state["strict"] = row["strict"]
    dates = {"created": when(row["created_at"]), "updated": when(row["updated_at"])}
    labels = {f"metadata.{name}": value for name, value in row["metadata"].items()}
    return plain | state | {"models": names(row["models"])} | unlimited | by_model | labels | dates
