"""A whole gateway in this process, with everything on, on a clock of the script's."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from app.main import create_data_app
from app.server.lifecycle import State
from app.server.listener import Listener
from app.server.runner import run
from app.settings import load
from app.wiring import build
from bench.clock import ScriptClock
from bench.peers import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from app.core.endpoint import EndpointSpec
    from app.server.refusal import Application

_GENEROUS = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrency"), 10**9)


class Subject(NamedTuple):
    """Where it listens, the secret of a key, and its clock."""

    port: int
    secret: str
    clock: ScriptClock


class _Sound:
    """Implements app.upstream.control.Control: every endpoint is well and serves the model."""

    async def ask(
        self, spec: EndpointSpec, path: str, timeout: float, *, body: bytes | None = None
    ) -> tuple[int, bytes]:
        models = {"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 32768}]}
        return 200, json.dumps(models).encode() if path == "/v1/models" else b""

    async def aclose(self) -> None:
        """Holds nothing."""


@asynccontextmanager
async def serving(urls: Sequence[str]) -> AsyncIterator[Subject]:
    """A gateway before engines at these addresses; gone without a trace afterwards."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(_unheard())
        file = Path(folder, "sluice.yaml")
        file.write_text(json.dumps(_configuration(folder, urls)))
        clock = ScriptClock()
        house = await build(load(file, environ={}), clock=clock, control=_Sound())
        stack.push_async_callback(house.aclose)
        await house.start()
        tenant = await house.storage.tenants.create("caller", limits=_GENEROUS)
        _, secret = await house.storage.stored_keys.create(tenant.id)
        app = cast("Application", create_data_app(house))
        data = Listener(app, house.lifecycle, house.settings.server, lifespan="off")
        running = asyncio.create_task(run([data], house.lifecycle, house.settings.server), name="serving")
        await house.lifecycle.reached(State.SERVING)
        try:
            yield Subject(data.port, secret, clock)
        finally:
            house.lifecycle.stop()
            await running


@contextmanager
def _unheard() -> Iterator[None]:
    """The access log goes to standard output."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def _configuration(folder: str, urls: Sequence[str]) -> dict[str, Any]:
    return {
        "server": {"host": "127.0.0.1", "port": 0, "lame_duck": 0, "drain": 1},
        "database_url": f"sqlite:///{folder}/sluice.db",
        "ledger": {"pace": 0.002, "journal": {"path": f"{folder}/journal.db"}},
        "admin_token": "a" * 40,
        "vllm_endpoints": [
            {"name": f"engine-{number}", "url": url, "models": [MODEL]} for number, url in enumerate(urls)
        ],
        "model_config": {MODEL: {"accounting": "exact"}},
        "logging": {"level": "error"},
    }
