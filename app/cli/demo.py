"""sluice demo: a gateway with a fleet, a tenant and a key, in one command."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.failure import Failed
from app.cli.greeting import Greeting
from app.cli.lazy import loading
from app.cli.simulated import simulated
from app.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from app.wiring import House

HOST = "127.0.0.1"
MODEL = "sim"
TENANT = "demo"
_STATE = Path(".sluice")
_OPS_PORT = 9001
_OPS_PORTS = 100
_KEY_LASTS = 30 * 86400.0


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option(
    "--endpoints", type=click.IntRange(1, 100), default=2, show_default=True, help="Simulated ones."
)
@click.option("--vllm", metavar="URL,…", help="Use these vLLM servers instead of simulated ones.")
@click.option("--vllm-api-key", envvar="VLLM_API_KEY", help="Their key; else VLLM_API_KEY.")
@click.pass_context
def demo(
    ctx: click.Context, /, port: int, endpoints: int, vllm: str | None, vllm_api_key: str | None
) -> None:
    """Run a gateway before simulated endpoints, with a tenant and a key, and print how to use it.

    Its state is in ./.sluice; Ctrl-C ends it. No configuration is read.

    Example: sluice demo --vllm http://10.0.0.10:8000,http://10.0.0.11:8000
    """
    if not _free(port):
        raise Failed(
            f"port {port} on {HOST} is taken; choose another: sluice demo --port 9100 (make run PORT=9100)"
        )
    given = [url.strip() for url in (vllm or "").split(",") if url.strip()]
    fleet: AbstractContextManager[Sequence[str]] = (
        nullcontext(given) if given else simulated(endpoints, MODEL)
    )
    with fleet as urls:
        ctx.exit(_serve(port, urls, vllm_api_key if given else None, simulated_ones=not given))


def _serve(port: int, urls: Sequence[str], api_key: str | None, *, simulated_ones: bool) -> int:
    with loading():
        from app.cli.running import run_house
        from app.telemetry.logs import configure_logging

    token = secrets.token_hex(20)
    settings = _settings(port, urls, api_key or None, token)
    configure_logging(settings.logging)

    async def opened(house: House, data_port: int, ops_port: int) -> None:
        key = await _key(house)
        greeting = Greeting(
            f"http://{HOST}:{data_port}",
            f"http://{HOST}:{ops_port}",
            key,
            token,
            models=sorted(house.fleet.models()),
            endpoints=urls,
            simulated=simulated_ones,
            command=_command(),
        )
        click.echo(greeting.text(os.environ))

    return run_house(settings, opened=opened)


def _settings(port: int, urls: Sequence[str], api_key: str | None, token: str) -> Settings:
    """Neither a file nor the environment has a part in it: the demo is the same everywhere."""
    _STATE.mkdir(mode=0o700, exist_ok=True)
    kind = {"api_key": api_key} if api_key else {}
    tree: dict[str, Any] = {
        "database_url": f"sqlite:///{_STATE.absolute()}/sluice.db",
        "admin_token": token,
        "server": {"host": HOST, "port": port, "lame_duck": 0, "drain": 5, "expose_endpoint": True},
        "ops": {"host": HOST, "port": _ops_port(port)},
        "vllm_endpoints": [
            {"name": f"gpu-{number}", "url": url, **kind} for number, url in enumerate(urls, start=1)
        ],
        "logging": {"level": "warning", "format": "text", "access": {"format": "text"}},
    }
    return load(Path(os.devnull), tree, environ={})


async def _key(house: House) -> str:
    tenants = house.storage.tenants
    tenant = await tenants.named(TENANT) or await tenants.create(TENANT)
    _, secret = await house.storage.stored_keys.create(
        tenant.id, name=TENANT, expires_at=time.time() + _KEY_LASTS
    )
    return secret


def _command() -> str:
    """How this program is called from here: by its name where that finds it."""
    if shutil.which("sluice"):
        return "sluice"
    beside = Path(sys.executable).with_name("sluice")
    return os.path.relpath(beside) if beside.exists() else f"{sys.executable} -m app"


def _ops_port(taken: int) -> int:
    """The usual one, or the next that is free."""
    for port in range(_OPS_PORT, _OPS_PORT + _OPS_PORTS):
        if port != taken and _free(port):
            return port
    raise Failed(f"no port from {_OPS_PORT} to {_OPS_PORT + _OPS_PORTS - 1} is free on {HOST}")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
