"""The fixed script: what is asked of the gateway while its work is counted, in samples that are all alike."""

from __future__ import annotations

import asyncio
import gc
import random
import select
import socket
import sys
import threading
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.counting import Counter, difference, total
from bench.peers import PATIENCE, Engine, answer, asked, ending, event, opening, read_until, request
from bench.subject import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.counting import Profile
    from bench.subject import Subject

STEP = 1 / 256
"""Seconds between calls; a sum of powers of two is exact, so that every sample sees the same timers fall due."""

CALLS = 13
"""In a sample: as many as fit into what observers and the access log wait before they tell of several at once."""

SHORT, LONG = 8, 40
"""Events in a stream."""

SAMPLES = 3
REMEMBERED = 10 * CALLS
ENGINES = 2

_TURNS = 30
_LATE = 1.0
"""Seconds of the machine's; only the first call of all is not told by one step of the clock."""

_OWN = str(Path(__file__).parent)


class Result(NamedTuple):
    """Work for one request, for one event of a stream, and for a stream besides its events; and memory
    blocks that are still held after a request.
    """

    request: Profile
    event: Profile
    stream: Profile
    blocks: float


class Script:
    """Runs in a thread of its own while the event loop runs the gateway."""

    def __init__(
        self, subject: Subject, engines: list[Engine], loop: asyncio.AbstractEventLoop, under_way: int = 0
    ) -> None:
        """`under_way`: requests that wait for their answers at any time; the oldest is answered first."""
        self._engines = engines
        self._loop = loop
        self._clock = subject.clock
        self._counter = Counter(but=_OWN)
        address = "127.0.0.1", subject.port
        self._callers = [socket.create_connection(address, PATIENCE) for _ in range(under_way + 1)]
        self._asked: deque[tuple[socket.socket, socket.socket]] = deque()
        self._json = request(subject.secret)
        self._streamed = request(subject.secret, stream=True, stream_options={"include_usage": True})
        self._answer = answer()

    def run(self) -> Result:
        """Warm first: what is made once belongs to no call."""
        for _ in range(3):
            self._requests()
            self._streams(SHORT)
        blocks = self._blocks()
        self._on_loop(self._counter.on)
        try:
            self._requests()
            self._streams(SHORT)
            requests = [self._counted(self._requests) for _ in range(SAMPLES)]
            short = [self._counted(lambda: self._streams(SHORT)) for _ in range(SAMPLES)]
            long = [self._counted(lambda: self._streams(LONG)) for _ in range(SAMPLES)]
        finally:
            self._on_loop(self._counter.off)
        few, many = middle(short), middle(long)
        events = difference(many, few, LONG - SHORT)
        besides = difference(few, difference(many, few, (LONG - SHORT) / SHORT))
        return Result(middle(requests), events, besides, blocks)

    def run_requests(self) -> Profile:
        """Requests alone. Warm once every engine was asked twice."""
        while len(self._callers) > 1:
            self._ask()
        for _ in range(2 * len(self._engines) // CALLS + 1):
            self._requests()
        self._on_loop(self._counter.on)
        try:
            self._requests()
            samples = [self._counted(self._requests) for _ in range(SAMPLES)]
        finally:
            self._on_loop(self._counter.off)
        while self._asked:
            self._reply()
        return middle(samples)

    def close(self) -> None:
        for each in (*self._callers, *(caller for caller, _ in self._asked)):
            each.close()

    def _requests(self) -> None:
        for _ in range(CALLS):
            self._ask()
            self._reply()

    def _ask(self) -> None:
        caller = self._callers.pop()
        caller.sendall(self._json)
        self._asked.append((caller, asked(self._engines)))

    def _reply(self) -> None:
        """To whoever asked first."""
        caller, engine = self._asked.popleft()
        engine.sendall(self._answer)
        self._end(caller, self._answer[-64:])
        self._callers.append(caller)

    def _streams(self, events: int) -> None:
        caller = self._callers[-1]
        for _ in range(CALLS):
            caller.sendall(self._streamed)
            engine = asked(self._engines)
            engine.sendall(opening())
            self._settle()
            read_until(caller, b"\n\n\r\n")
            for number in range(2, events + 1):
                engine.sendall(event(number))
                read_until(caller, b"\n\n\r\n")
            engine.sendall(ending(events))
            self._end(caller, b"0\r\n\r\n")

    def _end(self, caller: socket.socket, end: bytes) -> None:
        """Time for the ledger to write the call, and its last bytes with that."""
        self._settle()
        self._on_loop(lambda: self._clock.advance(STEP))
        while not select.select([caller], [], [], _LATE)[0]:
            self._on_loop(lambda: self._clock.advance(STEP))
        read_until(caller, end)
        self._settle()

    def _counted(self, part: Callable[[], None]) -> Profile:
        """For each of its calls."""
        before = self._counter.profile()
        part()
        return difference(self._counter.profile(), before, CALLS)

    def _blocks(self) -> float:
        """Still held after a call, in the mean."""
        before = _held()
        for _ in range(REMEMBERED // CALLS):
            self._requests()
        return (_held() - before) / REMEMBERED

    def _settle(self) -> None:
        """Until the loop has nothing left to do but wait."""
        settled = threading.Event()

        def turn(left: int) -> None:
            if left:
                self._loop.call_soon(turn, left - 1)
            else:
                settled.set()

        self._loop.call_soon_threadsafe(turn, _TURNS)
        if not settled.wait(PATIENCE):
            raise TimeoutError("the event loop does not come to rest")

    def _on_loop(self, action: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(action)
        self._settle()


def middle(samples: list[Profile]) -> Profile:
    """The sample with the median of instructions."""
    return sorted(samples, key=lambda sample: total(sample).instructions)[len(samples) // 2]


def _held() -> int:
    gc.collect()
    return sys.getallocatedblocks()


async def play() -> Result:
    """The whole script against a gateway of its own."""
    async with _script(ENGINES) as script:
        return await asyncio.to_thread(script.run)


async def play_requests(engines: int, under_way: int) -> Profile:
    """Requests alone, in a fleet of so many, with so many others under way."""
    async with _script(engines, under_way) as script:
        return await asyncio.to_thread(script.run_requests)


@asynccontextmanager
async def _script(number: int, under_way: int = 0) -> AsyncIterator[Script]:
    random.seed(1)
    engines = [Engine() for _ in range(number)]
    try:
        async with serving([engine.url for engine in engines]) as subject:
            script = Script(subject, engines, asyncio.get_running_loop(), under_way)
            try:
                yield script
            finally:
                script.close()
    finally:
        for engine in engines:
            engine.close()
