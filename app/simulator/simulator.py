"""A simulated vLLM server in this process: start it, ask it, break it, stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from app.simulator.admin import Admin
from app.simulator.faults.registry import Faults
from app.simulator.front import Front
from app.simulator.instance import Instance
from app.simulator.listener import Listener
from app.simulator.options import SimulatorOptions
from app.simulator.shutdown import Shutdown
from app.simulator.truth import Truth


class LoopTimers:
    """The clock and timers of whichever event loop is running."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_at(when, callback)


class Simulator:
    """One server on one port. Lives on the running event loop, has no tasks of its own, and leaves nothing behind when
    stopped. May be built before there is a loop; the port stays the same over `refuse`, `accept` and `restart`.
    """

    def __init__(self, options: SimulatorOptions | None = None, **fields: Any) -> None:
        self.options = options if options is not None else SimulatorOptions(**fields)
        self.ended = asyncio.Event()
        """Set when the simulated process is gone, stopped or by its own end."""
        self._listener = Listener("127.0.0.1", 0)
        self._reopening: asyncio.Future[None] | None = None
        self._fresh()

    def __repr__(self) -> str:
        return f"Simulator({self._listener!r}, {self.instance!r})"

    def _fresh(self) -> None:
        self.instance = Instance(self.options, LoopTimers())
        self._shutdown = Shutdown(self.instance, self._listener, self._gone)
        self._listener.serve(self.instance, Front(self.instance, Admin(self.instance, self)))

    @property
    def faults(self) -> Faults:
        return self.instance.faults

    @property
    def truth(self) -> Truth:
        return self.instance.truth

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def url(self) -> str:
        host = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        return f"http://{host}:{self.port}"

    @property
    def listening(self) -> bool:
        return self._listener.open

    @property
    def idle(self) -> bool:
        """Nothing runs, waits, or is being answered, and no KV block is taken."""
        return not self.instance.generations and not any(
            engine.load or engine.blocks.taken for engine in self.instance.engines
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listen. Port 0 takes any free one."""
        self._listener.host, self._listener.port = host, port
        await self._listener.listen()
        return self

    async def stop(self) -> None:
        """Close the listener and every connection at once."""
        self._shutdown.cancel()
        if self._reopening is not None:
            self._reopening.cancel()
        await self._listener.close()
        self.ended.set()

    async def restart(self) -> None:
        """A new process on the old port: empty truth, caches and queues, and no faults."""
        await self.stop()
        self._fresh()
        self.ended.clear()
        await self._listener.listen()

    async def __aenter__(self) -> Self:
        if not self.listening:
            await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def refuse(self, seconds: float | None = None) -> None:
        """Close the listener, for good or for so many seconds: new connections are refused, open ones live on."""
        self._listener.refuse()
        if seconds is not None:
            self._reopening = asyncio.ensure_future(self._accept_in(seconds))

    async def _accept_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listener.listen()

    async def accept(self) -> None:
        """Listen again after `refuse`, on the same port."""
        await self._listener.listen()

    def hang_up(self) -> None:
        """FIN on every open connection, whatever it is doing."""
        for connection in list(self._listener.connections):
            connection.close()

    def pause(self) -> None:
        self.instance.pause()

    def resume(self) -> None:
        self.instance.resume()

    def sleep(self, level: int = 1) -> None:
        self.instance.sleep(level)

    def wake(self) -> None:
        self.instance.wake()

    def unload(self) -> None:
        """The model is gone: 404 for whoever asks for it, an empty list of models."""
        self.instance.unloaded = True

    def load(self) -> None:
        """The model is back."""
        self.instance.unloaded = False

    def adjust(self, **changes: Any) -> None:
        """Change options while running, such as `ttft` or `max_num_seqs`."""
        self.instance.adjust(**changes)

    def kill_engine(self) -> None:
        """The engine process dies: in-band errors, 500s, no more connections, and the end two seconds later."""
        self._shutdown.die()

    def terminate(self, mode: str | None = None, timeout: float | None = None) -> None:
        """What SIGTERM does: `abort`, `silent` or `drain` (with its timeout), by the options if not said."""
        self._shutdown.begin(mode, timeout)

    def _gone(self) -> None:
        self._listener.refuse()
        for connection in list(self._listener.connections):
            connection.abort()
        self.ended.set()
