"""sluice apply and export: tenants and their limits kept in a file, idempotent by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from app.cli.backend import ask
from app.cli.declared import declaration_of, patch, read_declaration, steps
from app.cli.failure import say
from app.cli.options import config_option, json_option
from app.cli.tables import show, show_json
from app.settings.documents import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.cli.backend import Backend
    from app.cli.declared import Step


@click.command()
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    required=True,
    help="The tenants, as `export` prints them.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--prune", is_flag=True, help="Delete tenants that the file does not name.")
@config_option
@json_option
def apply(config: Path | None, as_json: bool, file: Path, dry_run: bool, prune: bool) -> None:
    """Make the tenants what FILE says: what it leaves out of a tenant has its default.

    Example: sluice apply -f tenants.yaml --dry-run
    """
    declared = read_declaration(read(file))

    async def applied(backend: Backend) -> list[Step]:
        taken = steps(declared, await backend.tenants(), prune=prune)
        if not dry_run:
            for step in taken:
                await _take(backend, step)
        return taken

    rows = [
        {"tenant": step.name, "action": step.action, "changes": _changes(step)}
        for step in ask(config, applied)
    ]
    if dry_run:
        say("nothing was changed: this is what apply would do")
    columns = {
        "tenant": lambda row: row["tenant"],
        "action": lambda row: row["action"],
        "changes": lambda row: ", ".join(row["changes"]),
    }
    show(rows, columns, as_json=as_json, none="The file names no tenants.")


@click.command()
@config_option
@json_option
def export(config: Path | None, as_json: bool) -> None:
    """Print the tenants, without their keys, as a file for `apply`.

    Example: sluice export > tenants.yaml
    """
    document = declaration_of(ask(config, lambda backend: backend.tenants()))
    if as_json:
        show_json(document)
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


async def _take(backend: Backend, step: Step) -> None:
    if step.action == "create":
        await backend.create_tenant(step.fields or {})
    elif step.action == "update":
        await backend.update_tenant(step.tenant_id, patch(step))
    elif step.action == "delete":
        await backend.delete_tenant(step.tenant_id)


def _changes(step: Step) -> list[str]:
    """`limits.requests_per_minute: 5 -> 6`, a line per value."""
    told: list[str] = []
    for name, (old, new) in (step.changes or {}).items():
        before, after = _flat(name, old), _flat(name, new)
        told += [
            f"{path}: {before.get(path)} -> {after.get(path)}"
            for path in {**before, **after}
            if before.get(path) != after.get(path)
        ]
    return told


def _flat(path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {at: leaf for name, inner in value.items() for at, leaf in _flat(f"{path}.{name}", inner).items()}
