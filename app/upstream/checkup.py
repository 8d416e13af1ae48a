"""One endpoint's checkup: is it up, what does it serve, and may it have calls again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.upstream.catalogue import parse_models
from app.upstream.control import UnansweredError
from app.upstream.trial import Trial

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.upstream.control import Control
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.health import HealthOptions

SILENCE = 2.0
"""Seconds without a byte for any of its calls after which an endpoint is looked at more closely."""


class Checkup:
    """A row of probes. Down after `unhealthy_after` bad ones, but never against calls that make
    progress meanwhile; up after `healthy_after` good ones, or the very first.

    A breaker opened by connect failures is told of `healthy_after` good probes since it opened. One
    opened otherwise, and an engine that said it drains, is believed after a completion of one token.
    One that may be stuck is asked for such a completion too, and is out when it owes it.
    """

    def __init__(
        self, endpoint: LiveEndpoint, *, control: Control, clock: Clock, options: HealthOptions
    ) -> None:
        self._endpoint = endpoint
        self._control = control
        self._clock = clock
        self._options = options
        self._trial = Trial(endpoint, control, options.timeout)
        self._good = 0
        self._bad = 0
        self._since_open = 0
        self._opened_at = -math.inf
        self._completion_at = -math.inf

    async def __call__(self) -> float:
        """Returns the seconds until the next; good probes follow each other faster while they are counted."""
        started = self._clock.monotonic()
        if await self._healthy():
            await self._learn_models(started)
            self._pass(started)
            await self._look_closer(started)
        else:
            self._fail(started)
        endpoint = self._endpoint
        settled = endpoint.standing.health == "up" and endpoint.breaker.state == "closed"
        doubtful = endpoint.standing.draining or endpoint.belief.questionable
        if settled and endpoint.catalogue.known and not doubtful:
            return self._options.interval
        pace, enough = self._options.interval_down, self._options.healthy_after
        counting = 0 < self._good < enough or 0 < self._since_open < enough
        return pace / enough if counting else pace

    async def _healthy(self) -> bool:
        """A 200 will do: vLLM puts nothing in it, others do."""
        try:
            status, _ = await self._ask("/health")
        except UnansweredError:
            return False
        return status == 200

    async def _learn_models(self, started: float) -> None:
        """A list that cannot be had or read leaves everything as it was."""
        try:
            status, body = await self._ask("/v1/models")
            cards = parse_models(body) if status == 200 else None
        except (UnansweredError, ValueError):
            return
        if cards is not None:
            self._endpoint.list_models(cards, started)

    def _pass(self, started: float) -> None:
        endpoint, breaker = self._endpoint, self._endpoint.breaker
        self._bad = 0
        self._good += 1
        if self._good >= self._options.healthy_after or endpoint.standing.health == "unknown":
            endpoint.probed("up")
        if breaker.state != "open" or breaker.opened_by != "connect":
            return
        if self._opened_at != endpoint.opened_at:
            self._opened_at, self._since_open = endpoint.opened_at, 0
        if started >= endpoint.opened_at:
            self._since_open += 1
        if self._since_open >= self._options.healthy_after:
            breaker.probe_passed("health")

    def _fail(self, started: float) -> None:
        self._good = self._since_open = 0
        self._bad += 1
        if self._bad >= self._options.unhealthy_after and self._endpoint.progressed_at <= started:
            self._endpoint.probed("down")

    async def _look_closer(self, started: float) -> None:
        """At one that is doubted; one that is silent gets a visit's time for its own metrics to speak."""
        endpoint, belief = self._endpoint, self._endpoint.belief
        if endpoint.standing.asleep:
            return
        if belief.suspicion.refuted(endpoint.progressed_at):
            belief.trust()
        if belief.suspicion.since is not None or endpoint.standing.seized is not None:
            await self._examine(started)
        elif self._doubted() and started >= self._completion_at + self._options.interval:
            self._completion_at = started
            if await self._trial.completes():
                endpoint.completed()
        elif belief.silent_for() >= SILENCE:
            belief.suspect("silent")

    async def _examine(self, started: float) -> None:
        """Calls that make progress, and counters that move, meanwhile outweigh a completion that is late."""
        endpoint, belief = self._endpoint, self._endpoint.belief
        belief.suspect("suspected")
        completes = await self._trial.completes()
        if completes:
            endpoint.completed()
        elif endpoint.progressed_at > started:
            belief.clear()
        elif completes is not None and (belief.suspicion.since is not None or endpoint.standing.seized):
            belief.seize("paused" if await self._trial.paused() else "stuck")
        else:
            belief.trust()

    def _doubted(self) -> bool:
        endpoint = self._endpoint
        broken = endpoint.breaker.state == "open" and endpoint.breaker.opened_by == "failure"
        return broken or endpoint.standing.draining

    async def _ask(self, path: str) -> tuple[int, bytes]:
        return await self._control.ask(self._endpoint.spec, path, self._options.timeout)
