"""A live endpoint: its spec, the gates before it, and all that is known of it at the moment."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from app.core.failures import EndpointBusy, EndpointRefused, ModelMissing
from app.resilience.breaker import Breaker
from app.resilience.bulkhead import Bulkhead
from app.upstream.busy import Busy
from app.upstream.catalogue import Catalogue
from app.upstream.latency import Latency
from app.upstream.scraped import NOTHING, Scraped
from app.upstream.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.failures import EndpointError
    from app.core.guard import Gate
    from app.resilience.options import Resilience
    from app.upstream.catalogue import ModelCard
    from app.upstream.standing import Health


class LiveEndpoint:
    """Implements core.ports.Endpoint; lives as long as its url stands in the plan.

    `on_free` hears of every freed place, `on_change` of each change that lets calls in or keeps them
    out, with one word: a breaker's state, up, down, draining, busy, drained, resumed, models.
    `steady` is True while nothing at all speaks against the endpoint, so that routing need not ask.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        resilience: Resilience,
        clock: Clock,
        on_free: Callable[[LiveEndpoint], None],
        on_change: Callable[[LiveEndpoint, str], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.resilience = resilience
        self.steady = False
        self.progressed_at = -math.inf
        self.opened_at = -math.inf
        self.last_error: str | None = None
        self.catalogue = Catalogue(spec.models)
        self.standing = Standing(clock, Busy(clock, jitter))
        self._clock = clock
        self._on_free = on_free
        self._on_change = on_change
        self._scraped = NOTHING
        self._latency = Latency(clock, self.standing.busy.answered)
        self.bulkhead = Bulkhead(resilience.bulkhead, self._freed)
        self.breaker = Breaker(spec.name, resilience.breaker, clock, self._breaker_changed)
        self.gates: Sequence[Gate] = (self.bulkhead, self._latency, self.breaker)

    def adopt(self, spec: EndpointSpec, resilience: Resilience) -> None:
        """Take another plan's spec and options; a mechanism whose options are the same is kept."""
        self.bulkhead.limit = resilience.bulkhead.max_concurrent_calls
        if resilience.breaker != self.resilience.breaker:
            self.breaker = Breaker(spec.name, resilience.breaker, self._clock, self._breaker_changed)
            self.gates = (self.bulkhead, self._latency, self.breaker)
        self.catalogue.fix(spec.models)
        self.spec, self.resilience, self.steady = spec, resilience, False

    @property
    def available(self) -> bool:
        return self.steady or self.reason_unavailable() is None

    @property
    def has_room(self) -> bool:
        bulkhead = self.bulkhead
        return bulkhead.inflight < bulkhead.limit

    @property
    def inflight(self) -> int:
        return self.bulkhead.inflight

    @property
    def load(self) -> float:
        weight = self.spec.weight
        return self.bulkhead.inflight / weight if weight else math.inf

    @property
    def latency(self) -> float | None:
        return self._latency.seconds

    @property
    def scraped(self) -> Scraped:
        """The engine's own figures; all None once they are stale."""
        return self._scraped if self._clock.monotonic() < self._scraped.stale_at else NOTHING

    @scraped.setter
    def scraped(self, scraped: Scraped) -> None:
        self._scraped = scraped

    def reason_unavailable(self) -> str | None:
        """Why routing may not pick it, as one word; a full bulkhead is no reason, calls wait for that."""
        reason = "weight" if self.spec.weight == 0 else self.standing.against()
        if reason is not None:
            return reason
        if self.breaker.ready:
            self.steady = self.breaker.state == "closed"
            return None
        return self.breaker.state

    def back_in(self) -> float:
        """Seconds until it may take calls again as far as a clock can tell, 0 when it cannot."""
        return max(self.breaker.reopens_in or 0.0, self.standing.back_in)

    def learn(self, call: Call, error: EndpointError) -> None:
        self.last_error = error.reason
        if isinstance(error, EndpointBusy):
            self.standing.busy.mark(error.retry_after)
            self._changed("busy")
        elif isinstance(error, EndpointRefused | ModelMissing):
            self.catalogue.mark(call.target or call.model, error, self._clock.monotonic())
            self._changed("models")
        if error.draining and self.standing.engine_drains():
            self._changed("draining")

    def list_models(self, cards: Mapping[str, ModelCard], started: float) -> None:
        """Take its own list of models, asked for at `started` (monotonic)."""
        if self.catalogue.learn(cards, started):
            self._changed("models")

    def probed(self, health: Health) -> None:
        """Take the verdict of a run of probes."""
        if self.standing.hears(health):
            self._changed(health)

    def completed(self) -> None:
        """A completion asked by a probe came back: the engine works, whatever was thought of it."""
        self.breaker.probe_passed("completion")
        if self.standing.engine_serves():
            self._changed("up")

    def drain(self, seconds: float | None, reason: str) -> None:
        self.standing.drain(seconds, reason)
        self._changed("drained")

    def resume(self) -> None:
        self.standing.resume()
        self._changed("resumed")

    def leave(self) -> None:
        """Take no new call ever again."""
        self.standing.leaving = True
        self._changed("leaving")

    def view(self) -> dict[str, Any]:
        """Everything an operator may see; times in seconds."""
        scraped, standing = self.scraped, self.standing
        return {
            "name": self.name,
            "state": self.reason_unavailable() or ("half_open" if not self.steady else "up"),
            "health": standing.health,
            "breaker": self.breaker.state,
            "reopens_in": self.breaker.reopens_in,
            "inflight": self.inflight,
            "limit": self.bulkhead.limit,
            "load": None if math.isinf(self.load) else self.load,
            "latency": self.latency,
            "weight": self.spec.weight,
            "tier": self.spec.tier,
            "models": sorted(self.catalogue.names()),
            "draining": standing.draining or standing.drained,
            "drain_reason": standing.drain_reason,
            "busy_for": standing.busy.left,
            "last_error": self.last_error,
            "running": scraped.running,
            "waiting": scraped.waiting,
            "kv_usage": scraped.kv_usage,
        }

    def _freed(self) -> None:
        self._on_free(self)

    def _breaker_changed(self, _name: str, to: str) -> None:
        if to == "open":
            self.opened_at = self._clock.monotonic()
        self._changed(to)

    def _changed(self, word: str) -> None:
        self.steady = False
        self._on_change(self, word)

    def __repr__(self) -> str:
        state = self.reason_unavailable() or "available"
        return f"<LiveEndpoint {self.name} {state} inflight={self.inflight}/{self.bulkhead.limit}>"
