"""sluice keys: the credentials of tenants; a secret is printed once, alone on stdout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

import click

from app.cli.backend import Backend, Document, ask, find_tenant
from app.cli.failure import Failed, say
from app.cli.imports import Import, read_imports
from app.cli.options import (
    Duration,
    config_option,
    json_option,
    limit_options,
    limits_given,
    models_given,
    moment,
)
from app.cli.tables import names, show, show_json, when
from app.core.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path


def _state(row: Document) -> str:
    if row["disabled"]:
        return "disabled"
    expires = row["expires_at"]
    return "expired" if expires is not None and expires <= time.time() else "enabled"


COLUMNS = {
    "id": lambda row: row["id"],
    "tenant": lambda row: row["tenant"],
    "name": lambda row: row["name"],
    "begins": lambda row: f"{row['prefix']}…" if row["prefix"] else "",
    "state": _state,
    "models": lambda row: names(row["models"]),
    "RPM": lambda row: row["limits"].get("requests_per_minute"),
    "TPM": lambda row: row["limits"].get("tokens_per_minute"),
    "expires": lambda row: when(row["expires_at"]) or "never",
    "created": lambda row: when(row["created_at"]),
}


@click.group()
def keys() -> None:
    """Create, rotate, revoke, import and list keys. ID is a key's id; TENANT a name or an id."""


@keys.command()
@click.argument("tenant")
@click.option("--name", help="What it is for.")
@click.option("--expires", metavar="WHEN", help="30d, or 2026-12-31; without it, never.")
@click.option("--models", metavar="A,B|all", help="Models it may use, of those its tenant may.")
@limit_options
@config_option
@json_option
def create(
    config: Path | None, as_json: bool, tenant: str, name: str | None, expires: str | None, **given: Any
) -> None:
    """Make a key and print its secret, which nobody can show again.

    Example: KEY=$(sluice keys create team-a --name ci --expires 90d)
    """
    fields: dict[str, Any] = {} if name is None else {"name": name}
    if limits := limits_given(given):
        fields["limits"] = limits
    if given["models"] is not None:
        fields["models"] = models_given(given["models"])

    async def created(backend: Backend) -> Document:
        owner = await find_tenant(backend, tenant)
        if expires is not None:
            fields["expires_at"] = moment(expires, await backend.timezone(), ahead=True)
        return await backend.create_key(owner["id"], fields)

    _hand_out(ask(config, created), as_json=as_json)


@keys.command("list")
@click.argument("tenant", required=False)
@config_option
@json_option
def list_(config: Path | None, as_json: bool, tenant: str | None) -> None:
    """List the keys of a tenant, or of all; secrets are not kept.

    Example: sluice keys list team-a
    """

    async def listed(backend: Backend) -> list[Document]:
        owners = [await find_tenant(backend, tenant)] if tenant else await backend.tenants()
        return [
            {"tenant": owner["name"], **row} for owner in owners for row in await backend.keys(owner["id"])
        ]

    show(ask(config, listed), COLUMNS, as_json=as_json, none="There are no keys: sluice keys create TENANT")


@keys.command()
@click.argument("key", metavar="ID")
@config_option
def disable(config: Path | None, key: str) -> None:
    """Refuse it until it is enabled again; running calls finish.

    Example: sluice keys disable key_0123
    """
    ask(config, lambda backend: backend.update_key(key, {"disabled": True}))
    click.echo(f"disabled {key}")


@keys.command()
@click.argument("key", metavar="ID")
@config_option
def enable(config: Path | None, key: str) -> None:
    """Let it open again.

    Example: sluice keys enable key_0123
    """
    ask(config, lambda backend: backend.update_key(key, {"disabled": False}))
    click.echo(f"enabled {key}")


@keys.command()
@click.argument("key", metavar="ID")
@click.option("--abort", is_flag=True, help="Cut the calls that run under it (through SLUICE_URL only).")
@config_option
def revoke(config: Path | None, key: str, abort: bool) -> None:
    """End it for good.

    Example: sluice keys revoke key_0123
    """
    ask(config, lambda backend: backend.revoke_key(key, abort=abort))
    click.echo(f"revoked {key}")


@keys.command()
@click.argument("key", metavar="ID")
@click.option("--overlap", type=Duration(), default="0", help="For so long the old secret opens too.")
@config_option
@json_option
def rotate(config: Path | None, as_json: bool, key: str, overlap: float) -> None:
    """Give it a new secret and print that; id, limits and history stay.

    Example: sluice keys rotate key_0123 --overlap 1h
    """
    _hand_out(ask(config, lambda backend: backend.rotate_key(key, overlap)), as_json=as_json)


@keys.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--tenant", help="Owner of the keys of lines that name none.")
@config_option
def import_(config: Path | None, file: TextIO, tenant: str | None) -> None:
    """Take over existing keys from a CSV file (`-`: stdin).

    Columns, by its first line: secret (in plain, or its SHA-256 as 64 hex digits, as LiteLLM keeps it),
    and as needed tenant, name, models (a;b) and expires_at. Without such a line each line is a secret.
    Keys that are known already are passed over.

    Example: sluice keys import keys.csv --tenant team-a
    """
    rows = read_imports(file, tenant)
    taken = ask(config, lambda backend: _imported(backend, rows))
    click.echo(
        f"imported {taken} of {len(rows)} keys" + ("" if taken == len(rows) else "; the others are known")
    )


async def _imported(backend: Backend, rows: list[Import]) -> int:
    """Nothing is taken over while a line names a tenant that is not there."""
    owners = {tenant["name"]: tenant["id"] for tenant in await backend.tenants()}
    owners |= {tenant_id: tenant_id for tenant_id in owners.values()}
    unknown = [
        f"line {row.line}: there is no tenant {row.tenant!r}" for row in rows if row.tenant not in owners
    ]
    if unknown:
        raise Failed("\n".join(unknown))
    taken = 0
    zone = await backend.timezone()
    for row in rows:
        fields = dict(row.fields)
        if "expires_at" in fields:
            fields["expires_at"] = moment(fields["expires_at"], zone, ahead=True)
        try:
            await backend.adopt_key(owners[row.tenant], row.secret, fields)
            taken += 1
        except Conflict:
            continue
    return taken


def _hand_out(row: Document, *, as_json: bool) -> None:
    """The secret alone on stdout, so that a shell can keep it."""
    if as_json:
        show_json(row)
        return
    say(f"this is the secret of {row['id']}; it is shown this once")
    click.echo(row["secret"])
