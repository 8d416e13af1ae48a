"""How a server ends: with `abort`, in silence, after a drain, or by the death of its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, get_args

from app.simulator.instance import Instance
from app.simulator.listener import Listener

Mode = Literal["abort", "silent", "drain"]
_EXIT_DELAY = 2.0
"""How long the recorded process lived on after its engine had gone."""
_LOOK_AGAIN = 0.02


class Shutdown:
    """Calls `ended` once the process would be gone."""

    def __init__(self, instance: Instance, listener: Listener, ended: Callable[[], None]) -> None:
        self._instance = instance
        self._listener = listener
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin(self, mode: str | None = None, timeout: float | None = None) -> None:
        """What SIGTERM starts. Without a mode the options decide, as the flags of the real server do."""
        options = self._instance.options
        timeout = options.shutdown_timeout if timeout is None else timeout
        chosen = mode or ("drain" if timeout else "silent" if options.silent_shutdown else "abort")
        if chosen not in get_args(Mode):
            raise ValueError(f"unknown mode {chosen!r}: one of {', '.join(get_args(Mode))}")
        if chosen == "drain":
            self._instance.draining = True
            self._after(timeout, self._abort)
        elif chosen == "silent":
            self._fall_silent()
        else:
            self._abort()

    def die(self) -> None:
        """The engine is killed: errors for everyone, no more connections, and soon no process."""
        self._instance.kill_engine()
        self._listener.refuse()
        self._after(_EXIT_DELAY, self._ended)

    def _abort(self) -> None:
        self._instance.draining = True
        self._instance.abort_all()
        self._listener.refuse()
        self._listener.close_idle()
        self._after(_EXIT_DELAY, self._ended)

    def _fall_silent(self) -> None:
        """Open streams get neither a byte nor a FIN; the process stays until its clients have left."""
        self._instance.fall_silent()
        self._listener.refuse()
        for connection in self._listener.connections:
            if connection.exchange is not None:
                connection.exchange.mute()
        self._listener.close_idle()
        self._wait_for_clients()

    def _wait_for_clients(self) -> None:
        if self._listener.connections:
            self._after(_LOOK_AGAIN, self._wait_for_clients)
        else:
            self._ended()

    def _after(self, delay: float, then: Callable[[], None]) -> None:
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, then)
