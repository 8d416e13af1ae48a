"""The scheduler: a queue, a batch of running sequences, and one timer that makes all their tokens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from app.simulator.engine.blocks import Blocks
from app.simulator.engine.pace import Pace
from app.simulator.engine.sequence import Output, Sequence
from app.simulator.metrics.stats import EngineStats
from app.simulator.options import SimulatorOptions

_TOKENS_PER_TICK = 512
_SLACK = 0.0005


class Timers(Protocol):
    """The part of an event loop the engine lives on."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None], /) -> asyncio.TimerHandle: ...


class Engine:
    """At most `max_num_seqs` sequences run, as far as KV blocks allow; the others wait in order. Every running one
    gets its tokens at its own pace. Sequences hear of each token, and of nothing once aborted.
    """

    def __init__(self, options: SimulatorOptions, timers: Timers) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, int] = {}
        self.blocks = Blocks(options.kv_blocks, options.block_size, caching=options.prefix_cache)
        self.stats = EngineStats()
        self.paused = False
        self._options = options
        self._pace = Pace(options)
        self._timers = timers
        self._heap: list[tuple[float, int, Sequence]] = []
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"Engine(running={len(self.running)}, waiting={len(self.waiting)}, blocks={self.blocks.taken})"

    @property
    def load(self) -> int:
        return len(self.running) + len(self.waiting)

    def adjust(self, options: SimulatorOptions) -> None:
        """New speeds and places, for the tokens and sequences to come."""
        self._options = options
        self._pace.options = options
        self._schedule()

    def submit(self, sequence: Sequence) -> None:
        sequence.arrived = self._timers.time()
        if self._options.scheduling == "priority":
            behind = [at for at, other in enumerate(self.waiting) if other.priority > sequence.priority]
            self.waiting.insert(behind[0] if behind else len(self.waiting), sequence)
        else:
            self.waiting.append(sequence)
        self._schedule()

    def abort(self, sequence: Sequence, reason: str = "gone") -> None:
        """Forget a sequence, mostly because its caller has left. It makes no further token."""
        sequence.ticket = 0
        if sequence in self.running:
            self._release(sequence)
            self._schedule()
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        if sequence.finish is None:
            sequence.finish = reason

    def hold(self, sequence: Sequence) -> None:
        """Keep a sequence in its place without another token."""
        sequence.held = True
        sequence.ticket = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """Go on where everything stood; no time has passed for the sequences."""
        self.paused = False
        now = self._timers.time()
        for sequence in self.running:
            if not sequence.held:
                self._push(sequence, self._pace.next(now, now, len(self.running)))
        self._schedule()

    def finish_all(self, reason: str) -> tuple[list[Sequence], list[Sequence]]:
        """End every sequence with one reason. Returns those that ran and those that waited; both have heard nothing."""
        ran, waited = list(self.running), list(self.waiting)
        self.waiting.clear()
        now = self._timers.time()
        for sequence in (*ran, *waited):
            sequence.ticket = 0
            sequence.finish = reason
            self.stats.end(sequence, now)
        for sequence in ran:
            self._release(sequence)
        return ran, waited

    def _schedule(self) -> None:
        now = self._timers.time()
        while self.waiting and not self.paused and len(self.running) < self._options.max_num_seqs:
            sequence = self.waiting[0]
            needed = self.blocks.needed(sequence.length + 1)
            if self.running and not self.blocks.fits(needed):
                break
            self.waiting.popleft()
            self.blocks.take(needed)
            self.running[sequence] = needed
            if sequence.scheduled is None:
                sequence.scheduled = now
                hashes = sequence.prompt.blocks(self.blocks.size)
                found = self.blocks.match(hashes, sequence.prompt.count)
                sequence.cached_tokens, sequence.created_tokens = found
            computed = sequence.length - sequence.cached_tokens
            self._push(sequence, self._pace.first(now, computed))

    def _push(self, sequence: Sequence, due: float) -> None:
        self._ticket += 1
        sequence.ticket, sequence.due = self._ticket, due
        heappush(self._heap, (due, self._ticket, sequence))
        self._arm()

    def _arm(self) -> None:
        if not self._heap or self.paused:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._timers.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._timers.time()
        made = 0
        while self._heap and not self.paused and made < _TOKENS_PER_TICK and self._heap[0][0] <= now + _SLACK:
            _, ticket, sequence = heappop(self._heap)
            if sequence.ticket == ticket and self._room(sequence):
                made += 1
                self._step(sequence, now)
        if made:
            self.stats.iteration_tokens_total.observe(made)
        self._arm()

    def _step(self, sequence: Sequence, now: float) -> None:
        output: Output = sequence.step()
        if output.tokens:
            self.stats.token(sequence, now)
        sequence.ticket = 0
        if output.finish is None:
            self._push(sequence, self._pace.next(sequence.due, now, len(self.running)))
        else:
            self._release(sequence)
            self.stats.end(sequence, now)
            self._schedule()
        sequence.listener(sequence, output)

    def _room(self, sequence: Sequence) -> bool:
        """A block for the next token, taken from the youngest sequence if none is left."""
        needed = self.blocks.needed(sequence.length + 1)
        while needed > self.running[sequence] and not self.blocks.fits(1) and len(self.running) > 1:
            victim = next(reversed(self.running))
            self._preempt(victim)
            if victim is sequence:
                return False
        if needed > self.running[sequence]:
            self.blocks.take(needed - self.running[sequence])
            self.running[sequence] = needed
        return True

    def _preempt(self, sequence: Sequence) -> None:
        sequence.ticket = 0
        sequence.preemptions += 1
        self.stats.preemptions += 1
        self._release(sequence)
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.blocks.free(self.running.pop(sequence))
