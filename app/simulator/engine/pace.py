"""How long a token takes: first token, the ones after it, load, jitter, and the engine's top speed."""

from __future__ import annotations

import random

from app.simulator.options import SimulatorOptions


class Pace:
    """Gives each token its due time. The same seed and the same order of calls give the same times."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self._random = random.Random(options.seed)
        self._free_at = 0.0

    def first(self, now: float, tokens: int) -> float:
        """When a sequence scheduled now, with so many tokens to compute, has its first token."""
        speed = self.options.prefill_tokens_per_second
        return self._reserve(now + self._jittered(self.options.ttft + (tokens / speed if speed else 0.0)))

    def next(self, due: float, now: float, running: int) -> float:
        """When the token after the one due at `due` comes; an engine that lags does not catch up."""
        factor, places = self.options.load_factor, self.options.max_num_seqs - 1
        stretch = 1 + (factor - 1) * (running - 1) / places if places and factor > 1 else 1.0
        return self._reserve(max(now, due + self._jittered(self.options.itl * stretch)))

    def _jittered(self, delay: float) -> float:
        jitter = self.options.jitter
        return delay * self._random.uniform(1 - jitter, 1 + jitter) if jitter else delay

    def _reserve(self, due: float) -> float:
        speed = self.options.tokens_per_second
        if speed is None:
            return due
        due = max(due, self._free_at)
        self._free_at = due + 1 / speed
        return due
