"""A worker as its supervisor sees it: a child process, the channel to it, and whether it serves."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from socket import socketpair
from typing import TYPE_CHECKING, Any

from app.server.workers.channel import Channel

if TYPE_CHECKING:
    import signal
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """`seat` is its place among the workers, which its replacement takes; `ready` once it accepts calls.

    `silent` are the seconds since it said anything, as far as somebody counts them up.
    """

    def __init__(self, seat: int, process: Process, channel: Channel, born: float) -> None:
        self.seat = seat
        self.pid = process.pid
        self.born = born
        self.ready = False
        self.silent = 0.0
        self.channel = channel
        self._process = process
        self._ready = asyncio.Event()

    @classmethod
    async def spawn(cls, seat: int, module: str, sockets: Sequence[int], born: float) -> Worker:
        """Runs a module with the descriptor of its end of the channel as its argument.

        It inherits `sockets`, and is in a session of its own, so that Ctrl-C reaches it through us alone.
        """
        ours, theirs = socketpair()
        paths = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, str(theirs.fileno())),
                pass_fds=(theirs.fileno(), *sockets),
                env=os.environ | {"PYTHONPATH": paths},
                start_new_session=True,
            )
        return cls(seat, process, await Channel.over(ours), born)

    def serves(self) -> None:
        """It said that it is ready."""
        self.ready = True
        self._ready.set()

    async def hear(self, heard: Callable[[Worker, Any], object]) -> int:
        """Pass on what it says until it ends; returns its exit code, 128 and more for a signal."""
        while (message := await self.channel.receive()) is not None:
            self.silent = 0.0
            heard(self, message)
        code = await self._process.wait()
        self.ready = False
        self._ready.set()
        self.channel.close()
        return code if code >= 0 else 128 - code

    async def begun(self) -> bool:
        """Returns once it is ready, or has ended; whether it is ready."""
        await self._ready.wait()
        return self.ready

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def __repr__(self) -> str:
        return f"<Worker {self.seat} pid={self.pid} ready={self.ready}>"
