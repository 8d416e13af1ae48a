"""Where the gateway is between starting and stopped; everyone who must know can ask, or wait for it."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class State(IntEnum):
    """In the order they are passed; none comes back."""

    STARTING = 0
    SERVING = 1
    LAME_DUCK = 2
    DRAINING = 3
    STOPPED = 4


class Lifecycle:
    """Only moves forward. `leaving`: no connection is kept beyond its next answer. `draining`: new calls are
    refused.

    `inflight` counts the answers that are due; the runner supplies it.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.leaving = False
        self.draining = False
        self.inflight: Callable[[], int] = lambda: 0
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._waiters: list[tuple[State, asyncio.Future[None]]] = []
        self._ends: list[Callable[[], object]] = []

    @property
    def ready(self) -> bool:
        """Whether new calls should be sent here."""
        return self.state is State.SERVING

    def stop(self) -> None:
        """Ask for an orderly end; asked again, for a quick one."""
        (self.hurried if self.asked.is_set() else self.asked).set()

    def begin_serving(self) -> None:
        self._enter(State.SERVING)

    def begin_lame_duck(self) -> None:
        """Not ready any more; new calls are still served, for whoever has not noticed."""
        self._enter(State.LAME_DUCK)

    def begin_draining(self) -> None:
        self._enter(State.DRAINING)

    def end(self) -> None:
        self._enter(State.STOPPED)

    def on_abort(self, abort: Callable[[], object]) -> None:
        """`abort` is called, synchronously, when the calls in flight must end now."""
        self._ends.append(abort)

    def abort(self) -> None:
        """End the calls in flight: the drain is over, or somebody cannot wait for it."""
        for abort in self._ends:
            abort()

    async def reached(self, state: State) -> None:
        """Returns when `state`, or a later one, is entered."""
        if self.state < state:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((state, waiter))
            await waiter

    def _enter(self, state: State) -> None:
        if state <= self.state:
            return
        self.state = state
        self.leaving = state >= State.LAME_DUCK
        self.draining = state >= State.DRAINING
        for wanted, waiter in self._waiters:
            if wanted <= state and not waiter.done():
                waiter.set_result(None)
        self._waiters = [(wanted, waiter) for wanted, waiter in self._waiters if not waiter.done()]

    def __repr__(self) -> str:
        return f"<Lifecycle {self.state.name.lower()} inflight={self.inflight()}>"
