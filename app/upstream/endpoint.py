"""A live endpoint: its spec, the gates before it, and all that is known of it at the moment."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING

from app.core.failures import EndpointBusy, EndpointRefused, FirstByteTimeout, IdleTimeout, ModelMissing
from app.resilience.conduct import Conduct
from app.resilience.penalty import Penalty
from app.resilience.ramp import Ramp
from app.upstream.belief import Belief
from app.upstream.busy import Busy
from app.upstream.catalogue import Catalogue
from app.upstream.gates import Gates
from app.upstream.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.core.failures import EndpointError
    from app.resilience.adaptive import Adaptive
    from app.resilience.options import Resilience
    from app.resilience.outlier import Offence
    from app.upstream.catalogue import ModelCard
    from app.upstream.scraped import Scraped
    from app.upstream.standing import Health


class LiveEndpoint:
    """Implements core.ports.Endpoint; lives as long as its url stands in the plan.

    `on_free` hears of every freed place, `on_change` of each change that lets calls in or keeps them
    out, with one word: a breaker's state, up, down, draining, busy, drained, resumed, models, refusing,
    asleep, awake, stuck, paused; and of silent, suspected and cleared, which are for others to act upon.
    `on_conduct` hears of an offence as soon as one shows, and of None when it is time to compare it with its peers.
    `followers` hear whenever its load may have fallen: a place was given back, or its weight changed.
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
        self.followers: Sequence[Callable[[LiveEndpoint], None]] = ()
        self.progressed_at = -math.inf
        self.opened_at = -math.inf
        self.last_error: str | None = None
        self.catalogue = Catalogue(spec.models)
        self.standing = Standing(clock, Busy(clock, jitter))
        self.belief = Belief(self, clock)
        self.conduct = Conduct(resilience.ejection, lambda offence: on_conduct(self, offence))
        self.penalty = Penalty(resilience.ejection, jitter)
        self.ramp = Ramp(clock, self._weigh)
        self.weight: float = spec.weight
        self._clock = clock
        self.tell = partial(on_change, self)
        """Says a word to whoever listens."""
        self._on_free = on_free
        hears = self.standing.busy.answered, self._freed, self._breaker_changed
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
    def busy_since(self) -> float:
        """When it got the first of the calls it has, in monotonic time."""
        return self._gates.latency.busy_since

    @property
    def latency(self) -> float | None:
        return self._gates.latency.seconds

    @property
    def scraped(self) -> Scraped:
        """The engine's own figures; all None once they are stale."""
        return self.belief.scraped

    @property
    def adaptive(self) -> Adaptive | None:
        """What moves the bulkhead's limit, where that was asked for."""
        return self._gates.adaptive

    @property
    def slow_start(self) -> float:
        """Seconds until it has its whole share again after having been out."""
        return self.resilience.ejection.slow_start

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
            self.changed("busy")
        elif isinstance(error, EndpointRefused | ModelMissing):
            self.catalogue.mark(call.target or call.model, error, self._clock.monotonic())
            self.changed("models" if isinstance(error, ModelMissing) else "refusing")
        elif isinstance(error, FirstByteTimeout | IdleTimeout):
            self.belief.suspect("suspected")
        if error.draining and self.standing.engine_drains():
            self.changed("draining")

    def list_models(self, cards: Mapping[str, ModelCard], started: float) -> None:
        """Take its own list of models, asked for at `started` (monotonic)."""
        if self.catalogue.learn(cards, started):
            self.changed("models")

    def probed(self, health: Health) -> None:
        """Take the verdict of a run of probes."""
        before = self.standing.health
        if self.standing.hears(health):
            if before == "down":
                self.recover()
            self.changed(health)

    def completed(self) -> None:
        """A completion asked by a probe came back: the engine works, whatever was thought of it."""
        self.breaker.probe_passed("completion")
        self.belief.clear()

    def recover(self) -> None:
        """It is back after having been out: it starts slowly, and its conduct of before does not count."""
        self.conduct.clear()
        self.ramp.begin(self.slow_start)

    def drain(self, seconds: float | None, reason: str) -> None:
        self.standing.drain(seconds, reason)
        self.changed("drained")

    def resume(self) -> None:
        self.standing.resume()
        self.changed("resumed")

    def leave(self) -> None:
        """Take no new call ever again."""
        self.ramp.end()
        self.standing.leaving = True
        self.changed("leaving")

    def _weigh(self) -> None:
        weight, share = self.spec.weight, self.ramp.share
        self.weight = weight if share == 1.0 else weight * share
        for follower in self.followers:
            follower(self)

    def _freed(self) -> None:
        for follower in self.followers:
            follower(self)
        self._on_free(self)

    def _breaker_changed(self, _name: str, to: str) -> None:
        if to == "open":
            self.opened_at = self._clock.monotonic()
        elif to == "closed":
            self.recover()
        self.changed(to)
        if to == "open" and self.breaker.relapsed:
            self.conduct.relapsed(self.opened_at)

    def changed(self, word: str) -> None:
        """Something that lets calls in or keeps them out."""
        self.steady = False
        self.tell(word)

    def __deepcopy__(self, memo: object) -> LiveEndpoint:
        """There is only one: the copy of what refers to it does so too."""
        return self

    def __repr__(self) -> str:
        state = self.reason_unavailable() or "available"
        return f"<LiveEndpoint {self.name} {state} inflight={self.inflight}/{self.bulkhead.limit}>"
