"""An adaptive limit: finds how many calls an engine runs at once before the next one only waits inside it.

As CoDel does it, by the shortest wait of the latest calls: where a queue stands, even the luckiest had to wait. A
wait is what a first event took beyond what such a prompt takes on an engine with room, so neither long prompts
nor a call in bad luck look like a queue. How many calls stand in it follows from Little's law: the wait times the
rate of answers. By so many the limit falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.resilience.baseline import Baseline

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.outcome import Settlement
    from app.resilience.bulkhead import Bulkhead

FEWEST = 10
"""Answers that are judged together, at least; of a large limit a quarter of it."""

GENTLE, HARD = 0.1, 0.5
"""Share by which the limit falls when the engine refuses calls, and by which it falls at most."""

START = 1.5
"""The limit grows by this factor until it has fallen once, by one or a little more afterwards."""

HASTE = 5
"""Rises in a row after which each is larger by one."""

SHORTEST = 0.001
"""Seconds that a window is taken for, were it shorter."""

UNBELIEVABLE = 5
"""Falls in a row down to the smallest limit, after which the times are no queue's but the engine's own."""


class AdaptiveOptions(BaseModel):
    """The limit moves between `min` and the bulkhead's; `tolerance`: times a first event may take longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    min: int = Field(default=4, ge=1)
    initial: int = Field(default=16, ge=1)
    tolerance: float = Field(default=2.0, gt=1)


class Adaptive:
    """A gate behind the bulkhead, whose limit it moves; it admits everyone itself.

    Streams tell by their first event. The engine's own count of waiting calls outranks them while it is
    known: with nobody waiting the limit never falls, with somebody waiting it never rises. `on_room` hears of
    every place that is added.
    """

    ready = True

    def __init__(
        self,
        options: AdaptiveOptions,
        bulkhead: Bulkhead,
        clock: Clock,
        on_room: Callable[[], None],
    ) -> None:
        self.ceiling = bulkhead.limit
        self.options = options
        self._bulkhead = bulkhead
        self._clock = clock
        self._on_room = on_room
        self._baseline = Baseline()
        self._limit = float(min(options.initial, self.ceiling))
        self._window: list[tuple[int, float]] = []
        self._began: float | None = None
        self._answers = 0
        self._since = clock.monotonic()
        self._reached = False
        self._starting = True
        self._falls = 0
        self._rises = 0
        self._waiting: float | None = None
        self._told_at = self._told_until = float("-inf")
        bulkhead.limit = int(self._limit)

    def bound(self, ceiling: int) -> None:
        """Stay within another limit from now on."""
        self.ceiling = ceiling
        self._move(self._limit)

    def admit(self, call: Call) -> Sample:
        if self._bulkhead.inflight >= self._bulkhead.limit:
            self._reached = True
        return Sample(self, call, self._clock.monotonic())

    def answered(self, tokens: int | None, admitted: float) -> None:
        """A call admitted then began to answer now, or was given up; `tokens` of its prompt, if it is a stream."""
        if admitted < self._since:
            return
        now = self._clock.monotonic()
        if self._began is None:
            self._began = now
        self._answers += 1
        if tokens is not None:
            self._window.append((max(tokens, 1), now - admitted))
            if len(self._window) >= max(FEWEST, self._bulkhead.limit // 4):
                self._judge(self._began, (self._answers - 1) / max(now - self._began, SHORTEST))

    def overfull(self, admitted: float) -> None:
        """The engine refused a call, admitted then, for want of room."""
        if admitted >= self._since:
            self._fall(self._limit * GENTLE)

    def told(self, waiting: float | None, running: float | None, until: float) -> None:
        """The engine's own count of the calls in it, all gateways' together; true until then (monotonic)."""
        waited = self._known_waiting
        self._waiting, self._told_at, self._told_until = waiting, self._clock.monotonic(), until
        if waited and waiting:
            self._fall(self._limit * waiting / (waiting + (running or self._limit)))

    @property
    def _known_waiting(self) -> float | None:
        return self._waiting if self._clock.monotonic() < self._told_until else None

    def _judge(self, began: float, rate: float) -> None:
        window, reached = self._window, self._reached
        self._begin()
        expected = [self._baseline.learn(tokens, seconds) for tokens, seconds in window]
        waited = min(seconds - quick for (_, seconds), quick in zip(window, expected, strict=True))
        waiting = self._known_waiting
        if waited > (self.options.tolerance - 1) * min(expected):
            if waiting != 0:
                self._fall(waited * rate)
            elif self._told_at >= began:
                self._relearn(window)
        elif reached and not waiting:
            self._rise()

    def _fall(self, calls: float) -> None:
        self._falls, self._rises, self._starting = self._falls + 1, 0, False
        if self._bulkhead.limit == self._smallest and self._falls > UNBELIEVABLE:
            self._relearn(())
        self._begin()
        self._move(self._limit - min(max(calls, 1.0), self._limit * HARD))

    def _rise(self) -> None:
        self._falls, self._rises = 0, self._rises + 1
        self._move(self._limit * START if self._starting else self._limit + 1 + self._rises // HASTE)

    def _relearn(self, window: list[tuple[int, float]] | tuple[()]) -> None:
        self._falls = 0
        self._baseline.forget()
        for tokens, seconds in window:
            self._baseline.learn(tokens, seconds)

    def _begin(self) -> None:
        self._window, self._began, self._answers, self._reached = [], None, 0, False

    @property
    def _smallest(self) -> int:
        return min(self.options.min, self.ceiling)

    def _move(self, limit: float) -> None:
        """Calls admitted before tell of another limit: they are not heard any more."""
        before = self._bulkhead.limit
        self._limit = min(max(limit, self._smallest), self.ceiling)
        self._bulkhead.limit = int(self._limit)
        if self._bulkhead.limit != before:
            self._since = self._clock.monotonic()
        for _ in range(before, self._bulkhead.limit):
            self._on_room()

    def __repr__(self) -> str:
        return f"<Adaptive {self._limit:.1f}/{self.ceiling} falls={self._falls} {self._baseline!r}>"


class Sample:
    """The permit of one call. Only a stream's first event comes when the work begins and not when it is done."""

    __slots__ = ("_adaptive", "_admitted", "_tokens", "_waits")

    def __init__(self, adaptive: Adaptive, call: Call, admitted: float) -> None:
        self._adaptive = adaptive
        self._admitted = admitted
        self._tokens = call.prompt_estimate if call.streams else None
        self._waits = True

    def answered(self) -> None:
        self._waits = False
        self._adaptive.answered(self._tokens, self._admitted)

    def __call__(self, settlement: Settlement) -> None:
        if self._waits and settlement.reason == "busy":
            self._adaptive.overfull(self._admitted)
        elif self._waits and settlement.reason == "first_byte":
            self._adaptive.answered(self._tokens, self._admitted)
        self._waits = False
