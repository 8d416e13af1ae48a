"""A live endpoint: its spec, the gates before it, and all that is known of it at the moment."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Literal

from app.core.failures import EndpointBusy, EndpointRefused, FirstByteTimeout, IdleTimeout, ModelMissing
from app.resilience.conduct import Conduct
from app.resilience.penalty import Penalty
from app.resilience.ramp import Ramp
from app.upstream.busy import Busy
from app.upstream.catalogue import Catalogue
from app.upstream.gates import Gates
from app.upstream.row import row
from app.upstream.scraped import NOTHING, Scraped
from app.upstream.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.failures import EndpointError
    from app.resilience.options import Resilience
    from app.resilience.outlier import Offence
    from app.upstream.catalogue import ModelCard
    from app.upstream.standing import Health, Seizure


class LiveEndpoint:
    """Implements core.ports.Endpoint; lives as long as its url stands in the plan.

    `on_free` hears of every freed place, `on_change` of each change that lets calls in or keeps them
    out, with one word: a breaker's state, up, down, draining, busy, drained, resumed, models, refusing,
    asleep, awake, stuck, paused; and of silent and suspected, which keep nobody out. `on_conduct` hears of an
    offence as soon as one shows, and of None when it is time to compare it with its peers.
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
        on_conduct: Callable[[LiveEndpoint, Offence | None], None] = lambda endpoint, offence: None,
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
        self.conduct = Conduct(resilience.ejection, lambda offence: on_conduct(self, offence))
        self.penalty = Penalty(resilience.ejection, jitter)
        self.ramp = Ramp(clock, self._weigh)
        self.weight: float = spec.weight
        self._clock = clock
        self._on_change = on_change
        self._scraped = NOTHING
        hears = self.standing.busy.answered, lambda: on_free(self), self._breaker_changed
        self._gates = Gates(spec.name, resilience, clock, self.conduct, *hears)
        self.bulkhead = self._gates.bulkhead
        self.breaker, self.gates = self._gates.breaker, self._gates.in_order

    def adopt(self, spec: EndpointSpec, resilience: Resilience) -> None:
        """Take another plan's spec and options; a mechanism whose options are the same is kept."""
        self.conduct.options = self.penalty.options = resilience.ejection
        self._gates.adopt(spec.name, resilience)
        self.breaker, self.gates = self._gates.breaker, self._gates.in_order
        self.catalogue.fix(spec.models)
        self.spec, self.resilience, self.steady = spec, resilience, False
        self._weigh()

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
        weight = self.weight
        return self.bulkhead.inflight / weight if weight else math.inf

    @property
    def latency(self) -> float | None:
        return self._gates.latency.seconds

    @property
    def scraped(self) -> Scraped:
        """The engine's own figures; all None once they are stale."""
        return self._scraped if self._clock.monotonic() < self._scraped.stale_at else NOTHING

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

    def silent_for(self) -> float:
        """Seconds since a byte came for any of the calls it has, counted from when it got the first of them."""
        if not self.inflight:
            return 0.0
        return self._clock.monotonic() - max(self.progressed_at, self._gates.latency.busy_since)

    def learn(self, call: Call, error: EndpointError) -> None:
        self.last_error = error.reason
        if isinstance(error, EndpointBusy):
            self.standing.busy.mark(error.retry_after)
            self._changed("busy")
        elif isinstance(error, EndpointRefused | ModelMissing):
            self.catalogue.mark(call.target or call.model, error, self._clock.monotonic())
            self._changed("models" if isinstance(error, ModelMissing) else "refusing")
        elif isinstance(error, FirstByteTimeout | IdleTimeout):
            self.suspect("suspected")
        if error.draining and self.standing.engine_drains():
            self._changed("draining")

    def list_models(self, cards: Mapping[str, ModelCard], started: float) -> None:
        """Take its own list of models, asked for at `started` (monotonic)."""
        if self.catalogue.learn(cards, started):
            self._changed("models")

    def probed(self, health: Health) -> None:
        """Take the verdict of a run of probes."""
        before = self.standing.health
        if self.standing.hears(health):
            if before == "down":
                self.recover()
            self._changed(health)

    def completed(self) -> None:
        """A completion asked by a probe came back: the engine works, whatever was thought of it."""
        self.breaker.probe_passed("completion")
        self.clear()

    def suspect(self, word: Literal["silent", "suspected"]) -> None:
        """It may be stuck; `silent` is the weaker word, its own metrics are asked first."""
        if self.standing.seized is None and self.standing.suspicion.arises():
            self._on_change(self, word)

    def seize(self, how: Seizure) -> None:
        """A suspected endpoint failed to complete anything either: no calls until it does, or moves."""
        news = self.standing.seized != how
        self.standing.seized = how
        if news:
            self._changed(how)

    def clear(self) -> None:
        """The engine works: no suspicion is left, and what it was out for is over."""
        self.standing.suspicion.ends()
        if self.standing.engine_serves():
            self.recover()
            self._changed("up")

    def hear(self, scraped: Scraped) -> None:
        """Take what its metrics said; NOTHING when they have not said anything for long."""
        before, self._scraped = self._scraped, scraped
        asleep = bool(scraped.asleep)
        if asleep != self.standing.asleep:
            self.standing.asleep = asleep
            if not asleep:
                self.recover()
            self._changed("asleep" if asleep else "awake")
        elif self.ramp.share == 1.0 and scraped.renewed(
            before, self._clock.time() - self.resilience.ejection.slow_start
        ):
            self.recover()
        if self._gates.adaptive is not None:
            self._gates.adaptive.told(scraped.waiting, scraped.running, scraped.stale_at)
        if scraped is NOTHING:
            return
        if self.standing.suspicion.compare(before, scraped):
            self.clear()
        elif self.standing.suspicion.confirmed(self.progressed_at):
            self.suspect("suspected")

    def recover(self) -> None:
        """It is back after having been out: it starts slowly, and its conduct of before does not count."""
        self.conduct.clear()
        self.ramp.begin(self.resilience.ejection.slow_start)

    def drain(self, seconds: float | None, reason: str) -> None:
        self.standing.drain(seconds, reason)
        self._changed("drained")

    def resume(self) -> None:
        if self.standing.drained:
            self.recover()
        self.standing.resume()
        self._changed("resumed")

    def leave(self) -> None:
        """Take no new call ever again."""
        self.ramp.end()
        self.standing.leaving = True
        self._changed("leaving")

    def view(self) -> dict[str, Any]:
        """Everything an operator may see; times in seconds."""
        return row(self)

    def _weigh(self) -> None:
        weight, share = self.spec.weight, self.ramp.share
        self.weight = weight if share == 1.0 else weight * share

    def _breaker_changed(self, _name: str, to: str) -> None:
        if to == "open":
            self.opened_at = self._clock.monotonic()
        elif to == "closed":
            self.recover()
        self._changed(to)
        if to == "open" and self.breaker.relapsed:
            self.conduct.relapsed(self.opened_at)

    def _changed(self, word: str) -> None:
        self.steady = False
        self._on_change(self, word)

    def __repr__(self) -> str:
        state = self.reason_unavailable() or "available"
        return f"<LiveEndpoint {self.name} {state} inflight={self.inflight}/{self.bulkhead.limit}>"
