"""HTTP requests by handler, as the instrumentation inside vLLM counts them."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.simulator.metrics.histogram import HTTP, HTTP_FEW, Histogram


@dataclass(slots=True)
class Traffic:
    """Counts per handler and method; `none` is every path without a route."""

    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)
    sizes_in: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes_out: dict[str, tuple[int, int]] = field(default_factory=dict)
    durations: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    all_durations: Histogram = field(default_factory=lambda: Histogram(HTTP))
    open: int = 0

    def add(self, handler: str, method: str, status: int, received: int, sent: int, seconds: float) -> None:
        """One answer is complete."""
        key = (handler, method, f"{status // 100}xx")
        self.requests[key] = self.requests.get(key, 0) + 1
        for sizes, size in ((self.sizes_in, received), (self.sizes_out, sent)):
            count, total = sizes.get(handler, (0, 0))
            sizes[handler] = (count + 1, total + size)
        self.durations.setdefault((handler, method), Histogram(HTTP_FEW)).observe(seconds)
        self.all_durations.observe(seconds)
