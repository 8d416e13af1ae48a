"""sluice serve: the gateway of the configuration."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from app.cli.lazy import loading
from app.cli.options import config_option, yes_open_option

if TYPE_CHECKING:
    from pathlib import Path

_port = click.IntRange(0, 65535)


@click.command()
@click.option("--host", help="Address of the callers' port; else server.host.")
@click.option("--port", type=_port, help="The callers' port; else server.port.")
@click.option("--ops-host", help="Address of the operators' port; else ops.host.")
@click.option("--ops-port", type=_port, help="The operators' port; else ops.port.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes; more than one need Redis.")
@yes_open_option
@config_option
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    config: Path | None,
    host: str | None,
    port: int | None,
    ops_host: str | None,
    ops_port: int | None,
    workers: int,
    yes_open: bool,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C: running calls finish. SIGHUP reloads the configuration.

    Example: sluice serve --config sluice.yaml --port 9000
    """
    with loading():
        from app.cli.running import run_house
        from app.settings import load
        from app.telemetry.logs import configure_logging

    flags = {"server": {"host": host, "port": port}, "ops": {"host": ops_host, "port": ops_port}}
    reread = partial(load, config, flags, yes_open=yes_open, workers=workers)
    settings = reread()
    configure_logging(settings.logging)
    if workers == 1:
        ctx.exit(run_house(settings, reread))
    with loading():
        from app.cli.workers.supervise import run_workers

    ctx.exit(run_workers(settings, reread, workers))
