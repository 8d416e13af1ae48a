"""Runs one house on its two ports, from the configuration to an orderly end."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, cast

import uvloop

from app.main import create_data_app, create_ops_app
from app.server.lifecycle import State
from app.server.listener import Listener
from app.server.runner import run, undisturbed
from app.server.watchdog import watched
from app.settings import ConfigError
from app.store.apart import prepare_apart
from app.wiring import build

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.server.refusal import Application
    from app.settings import Settings
    from app.wiring import House

    Opened = Callable[[House, int, int], Awaitable[None]]

logger = logging.getLogger(__name__)


def run_house(
    settings: Settings, reread: Callable[[], Settings] | None = None, opened: Opened | None = None
) -> int:
    """Serve until a signal says to stop; returns the exit code. SIGHUP reloads what `reread` gives.

    `opened` is called once both ports, which it is told, answer. Raises StoreRefusal.
    """
    prepare_apart(settings.database_url.get_secret_value())
    return uvloop.run(_run(settings, reread, opened))


async def _run(settings: Settings, reread: Callable[[], Settings] | None, opened: Opened | None) -> int:
    house = await build(settings, reread=reread)
    try:
        # Before the start: the operators' edge subscribes to what the start looks at.
        callers, operators = cast("Application", create_data_app(house)), create_ops_app(house)
        await house.start()
        refused = house.hearing.calls.turned_away
        data = Listener(callers, house.lifecycle, settings.server, refused=refused, lifespan="off")
        house.connections = lambda: len(data.connections)
        ops = Listener(
            operators,
            house.lifecycle,
            settings.server,
            host=settings.ops.host,
            port=settings.ops.port,
            lifespan="off",
        )
        settle_memory()
        greeting = asyncio.create_task(_greet(house, data, ops, opened), name="greeting")
        reload = _reloading(house) if reread is not None else None
        with watched(lambda: house.hearing.lag.beats, settings.server.watchdog):
            code = await run([data, ops], house.lifecycle, settings.server, reload)
        await greeting
        return code
    finally:
        with undisturbed():
            await house.aclose()


def settle_memory() -> None:
    """What was built stays for good, and calls leave few cycles: collections walk little, and not often.

    A collection holds up every stream: one of 2,000 young objects takes a millisecond, of 10,000 seven.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 100, 50)


async def _greet(house: House, data: Listener, ops: Listener, opened: Opened | None) -> None:
    """A greeting that fails ends the house."""
    await house.lifecycle.reached(State.SERVING)
    if opened is None or house.lifecycle.state is not State.SERVING:
        return
    try:
        await opened(house, data.port, ops.port)
    except BaseException:
        house.lifecycle.stop()
        raise


def _reloading(house: House) -> Callable[[], None]:
    def reload() -> None:
        try:
            house.reload()
        except (ConfigError, ValueError) as error:
            for line in str(error).splitlines():
                logger.error("the configuration stays as it was: %s", line)

    return reload
