"""One simulated vLLM as a process: runs until it is told to end, and ends as the real one does."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from app.simulator.options import SimulatorOptions
from app.simulator.simulator import Simulator


async def serve(
    options: SimulatorOptions,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    ready: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM (in the mode of the options) or SIGINT (at once). `ready` is set once the port listens."""
    simulator = Simulator(options)
    await simulator.start(host, port)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, simulator.terminate)
    loop.add_signal_handler(signal.SIGINT, simulator.ended.set)
    if ready is not None:
        ready.set()
    try:
        await simulator.ended.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        await simulator.stop()


def run(options: SimulatorOptions, host: str = "127.0.0.1", port: int = 8000) -> None:
    """`serve` on an event loop of its own, uvloop's."""
    uvloop.run(serve(options, host, port))
