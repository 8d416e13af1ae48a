"""The `sluice` command: a subcommand is imported when it is used, so that starting is quick."""

from __future__ import annotations

import click

from app import __version__
from app.cli.lazy import LazyGroup

COMMANDS = {
    "serve": ("app.cli.serve:serve", "Run the gateway."),
    "demo": ("app.cli.demo:demo", "Try the gateway before simulated endpoints, or before your own."),
    "sim": ("app.cli.sim:sim", "Run one simulated vLLM."),
    "check": ("app.cli.check:check", "Say whether the configuration holds and every endpoint answers."),
    "config": ("app.cli.config:config", "Show the configuration, its schema, or what a file would change."),
    "migrate": ("app.cli.migrate:migrate", "Bring the database to this release's schema."),
    "tenants": ("app.cli.tenants:tenants", "Create, limit, disable and list tenants."),
    "keys": ("app.cli.keys:keys", "Create, rotate, revoke, import and list keys."),
    "apply": ("app.cli.apply:apply", "Make the tenants what a file says."),
    "export": ("app.cli.apply:export", "Print the tenants as such a file."),
    "usage": ("app.cli.usage:usage", "Sum up the tokens that were used."),
    "reconcile": ("app.cli.reconcile:reconcile", "Compare the ledger with the engines' own counters."),
    "prune": ("app.cli.usage:prune", "Delete the ledger's old rows."),
    "backup": ("app.cli.backup:backup", "Copy the SQLite database in use, with its secret, into a file."),
    "restore": ("app.cli.backup:restore", "Put such a file in the database's place."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice", message="%(prog)s %(version)s")
def main() -> None:
    """An OpenAI-compatible gateway for fleets of vLLM servers.

    Commands on tenants, keys and usage talk to the gateway at SLUICE_URL (its ops address, with
    SLUICE_ADMIN_TOKEN) when that is set, else to the database of the configuration.
    """
