"""One simulated server: its engines, its model, its faults, its ground truth, and the state it is in."""

from __future__ import annotations

import time
from typing import Any, Protocol

from app.simulator.engine.engine import Engine, Timers
from app.simulator.faults.registry import Faults
from app.simulator.metrics.traffic import Traffic
from app.simulator.options import SimulatorOptions
from app.simulator.text.replies import Replies
from app.simulator.text.tokenizer import Tokenizer
from app.simulator.truth import Truth


class Running(Protocol):
    """A generation as its instance knows it."""

    def shut_down(self) -> None: ...
    def die(self) -> None: ...


class Instance:
    """Everything behind the sockets. Its switches (dead, draining, unloaded, asleep) may be thrown at any time."""

    def __init__(self, options: SimulatorOptions, timers: Timers) -> None:
        self.options = options
        self.timers = timers
        self.tokenizer = Tokenizer(options.vocabulary)
        self.replies = Replies(self.tokenizer)
        self.engines = tuple(Engine(options, timers) for _ in range(options.data_parallel))
        self.faults = Faults()
        self.truth = Truth(options.truth_limit)
        self.traffic = Traffic()
        self.generations: dict[Running, None] = {}
        self.rejected = 0
        self.tool_parses: dict[tuple[str, str], int] = {}
        self.sleep_level: int | None = None
        self.paused = False
        self.dead = False
        self.draining = False
        self.unloaded = False
        self.silent = False
        self.started = time.time()
        self.stale_metrics: bytes | None = None

    def __repr__(self) -> str:
        return f"Instance({self.options.model}, engines={self.engines}, generations={len(self.generations)})"

    def now(self) -> float:
        """Wall clock, as answers and the truth carry it."""
        return time.time()

    def adjust(self, **changes: Any) -> None:
        """Change options of a running server: speeds, places, queue and flags; names and block counts stay."""
        self.options = SimulatorOptions.model_validate(self.options.model_dump() | changes)
        for engine in self.engines:
            engine.adjust(self.options)

    def engine(self, rank: str | None) -> Engine:
        """The engine a request asks for by rank, else the least loaded."""
        if rank is not None and rank.isdigit() and int(rank) < len(self.engines):
            return self.engines[int(rank)]
        return min(self.engines, key=lambda engine: engine.load)

    def pause(self) -> None:
        self.paused = True
        for engine in self.engines:
            engine.pause()

    def resume(self) -> None:
        self.paused = False
        for engine in self.engines:
            if engine.paused and self.sleep_level is None:
                engine.resume()

    def sleep(self, level: int = 1) -> None:
        self.sleep_level = level
        for engine in self.engines:
            engine.pause()
            if level > 1:
                engine.blocks.forget()

    def wake(self) -> None:
        self.sleep_level = None
        if not self.paused:
            self.resume()

    def fall_silent(self) -> None:
        """Nothing more is said, and no token made."""
        self.silent = True
        self.pause()

    def count_tool_parse(self, mode: str, *, called: bool) -> None:
        key = (mode, "tool_call" if called else "no_tool_call")
        self.tool_parses[key] = self.tool_parses.get(key, 0) + 1

    def kill_engine(self) -> None:
        """The engine dies: everything running fails with 500, and so does everything that comes."""
        self.dead = True
        for engine in self.engines:
            engine.finish_all("error")
        for generation in list(self.generations):
            generation.die()

    def abort_all(self) -> None:
        """The engine stops in good order: everything ends with `abort`."""
        for engine in self.engines:
            engine.finish_all("abort")
        for generation in list(self.generations):
            generation.shut_down()
