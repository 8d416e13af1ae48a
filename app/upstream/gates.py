"""The gates before one endpoint: room, a limit that moves if asked for, a watch over how calls go, the breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.resilience.adaptive import Adaptive
from app.resilience.breaker import Breaker
from app.resilience.bulkhead import Bulkhead
from app.upstream.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.core.clock import Clock
    from app.core.guard import Gate
    from app.resilience.adaptive import AdaptiveOptions
    from app.resilience.conduct import Conduct
    from app.resilience.options import Resilience


class Gates:
    """`in_order`, as a call passes them. A gate whose options stay the same is kept, with what it has learnt."""

    def __init__(
        self,
        name: str,
        resilience: Resilience,
        clock: Clock,
        conduct: Conduct,
        on_answer: Callable[[float], None],
        on_free: Callable[[], None],
        on_breaker: Callable[[str, str], None],
    ) -> None:
        self._resilience = resilience
        self._clock = clock
        self._on_free = on_free
        self._on_breaker = on_breaker
        self.bulkhead = Bulkhead(resilience.bulkhead, on_free)
        self.latency = Latency(clock, on_answer, conduct, self.bulkhead)
        self.breaker = Breaker(name, resilience.breaker, clock, on_breaker)
        self.adaptive: Adaptive | None = None
        self.in_order: Sequence[Gate] = ()
        self._adapt(resilience.adaptive)

    def adopt(self, name: str, resilience: Resilience) -> None:
        """Go by other options from now on."""
        former, self._resilience = self._resilience, resilience
        if resilience.breaker != former.breaker:
            self.breaker = Breaker(name, resilience.breaker, self._clock, self._on_breaker)
        ceiling = resilience.bulkhead.max_concurrent_calls
        if self.adaptive is not None and resilience.adaptive == former.adaptive:
            self.adaptive.bound(ceiling)
        else:
            self.bulkhead.limit = ceiling
        self._adapt(resilience.adaptive)

    def _adapt(self, options: AdaptiveOptions) -> None:
        if not options.enabled:
            self.adaptive = None
        elif self.adaptive is None or self.adaptive.options != options:
            self.adaptive = Adaptive(options, self.bulkhead, self._clock, self._on_free)
        moving = () if self.adaptive is None else (self.adaptive,)
        self.in_order = (self.bulkhead, *moving, self.latency, self.breaker)
