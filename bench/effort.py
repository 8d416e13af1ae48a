"""How long and how often is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Seconds per round and target, beside the warming up; `rows` of a filled ledger."""

    rounds: int = 5
    seconds: float = 3.0
    warm_up: float = 1.5
    rows: int = 10_000_000
