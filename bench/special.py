"""What is measured in a way of its own: one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import half, idle, memory, start, workers
from bench.effort import Effort


@dataclass(frozen=True)
class Special:
    """`run` finds figures by what they tell, units included: numbers, or a spread of several rounds."""

    name: str
    title: str
    run: Callable[[Effort], dict[str, Any]]


SPECIALS = [
    Special("memory", "Memory at 2,048 streams", memory.run),
    Special("idle", "10,000 silent streams", idle.run),
    Special("start", "From start to first answer", start.run),
    Special("workers", "Two workers beside one, limits shared over Redis", workers.run),
    Special("half-cpu", "64 streams inside half a CPU", half.run),
]
