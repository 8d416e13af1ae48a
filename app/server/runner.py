"""Both ports in one event loop, from the first answer to an orderly end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.server.listener import CannotStart, finished, listening
from app.server.parting import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from app.server.lifecycle import Lifecycle
    from app.server.listener import Listener
    from app.server.options import ServerOptions

_FLUSH = 2.0
_READING = 0.1
"""Seconds, of the lame duck, in which a request that the kernel holds already is still read."""

_ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def run(
    listeners: Sequence[Listener],
    lifecycle: Lifecycle,
    options: ServerOptions,
    reload: Callable[[], object] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or `lifecycle.stop()`; returns the exit code.

    The first listener's requests are the calls that a stop waits for: it keeps answering through
    lame duck and drain. Asked to stop again, it aborts the calls at once. SIGHUP calls `reload`.
    """
    data = listeners[0]
    lifecycle.inflight = lambda: len(data.tasks)
    try:
        with signals(lifecycle.stop, reload):
            async with listening(*listeners):
                lifecycle.begin_serving()
                await lifecycle.asked.wait()
                await _wind_down(data, lifecycle, options)
    except CannotStart as error:
        sys.stderr.write(f"sluice: {error}\n")
        return 1
    finally:
        lifecycle.end()
    return 0


async def _wind_down(data: Listener, lifecycle: Lifecycle, options: ServerOptions) -> None:
    hurry = asyncio.create_task(lifecycle.hurried.wait())
    lifecycle.begin_lame_duck()
    await asyncio.wait({hurry}, timeout=options.lame_duck)
    part(data.connections)
    await asyncio.wait({hurry}, timeout=min(_READING, options.lame_duck))
    lifecycle.begin_draining()
    calls = set(data.tasks)
    ended = asyncio.create_task(finished(calls, options.drain))
    await asyncio.wait({ended, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if not all(call.done() for call in calls):
        lifecycle.abort()
        await finished(calls, _FLUSH)
    hurry.cancel()
    await asyncio.wait({ended, hurry})


@contextmanager
def signals(stop: Callable[[], object], reload: Callable[[], object] | None) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`, SIGHUP calls `reload` if there is one."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reload is not None:
        handlers[signal.SIGHUP] = reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """For the last steps of a gateway, which are short: whoever asks it to stop once more waits for them."""
    former = {number: signal.getsignal(number) for number in _ASKS}
    ignore_asking()
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def ignore_asking() -> None:
    """For a process that ends by itself now, and shall not end by a signal instead."""
    for number in _ASKS:
        signal.signal(number, signal.SIG_IGN)
