"""What is believed of an engine beyond its own word: that it sleeps, may be stuck, or is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from app.upstream.scraped import NOTHING, Scraped
from app.upstream.suspicion import Suspicion

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.standing import Seizure


class Belief:
    """Draws what follows for one endpoint from its calls, its metrics and the questions it was asked.

    Nothing but a completion, or a sign of life that is not its own word, ends the belief that it is stuck.
    """

    def __init__(self, endpoint: LiveEndpoint, clock: Clock) -> None:
        self.suspicion = Suspicion(clock)
        self._endpoint = endpoint
        self._clock = clock
        self._scraped = NOTHING

    @property
    def scraped(self) -> Scraped:
        """The engine's own figures; all None once they are stale."""
        return self._scraped if self._clock.monotonic() < self._scraped.stale_at else NOTHING

    @property
    def questionable(self) -> bool:
        """Whether it sleeps, or is or may be stuck."""
        standing = self._endpoint.standing
        return self.suspicion.since is not None or standing.seized is not None or standing.asleep

    def silent_for(self) -> float:
        """Seconds since a byte came for any of the calls it has, counted from when it got the first of them."""
        endpoint = self._endpoint
        if not endpoint.inflight:
            return 0.0
        return self._clock.monotonic() - max(endpoint.progressed_at, endpoint.busy_since)

    def suspect(self, word: Literal["silent", "suspected"]) -> None:
        """It may be stuck; `silent` is the weaker word, its own metrics are asked first."""
        grave = word == "suspected"
        if self._endpoint.standing.seized is None and self.suspicion.arises(grave=grave):
            self._endpoint.tell(word)

    def trust(self) -> None:
        """Nothing came of the suspicion."""
        if self.suspicion.ends():
            self._endpoint.tell("cleared")

    def seize(self, how: Seizure) -> None:
        """It failed to complete anything: no calls until it does, or moves."""
        standing = self._endpoint.standing
        before, standing.seized = standing.seized, how
        self.trust()
        if before != how:
            self._endpoint.changed(how)

    def clear(self) -> None:
        """The engine works: no suspicion is left, and what it was out for is over."""
        self.trust()
        if self._endpoint.standing.engine_serves():
            self._endpoint.recover()
            self._endpoint.changed("up")

    def hear(self, scraped: Scraped) -> None:
        """Take what its metrics said; NOTHING when they have not said anything for long."""
        endpoint = self._endpoint
        before, self._scraped = self._scraped, scraped
        asleep = bool(scraped.asleep)
        if asleep != endpoint.standing.asleep:
            endpoint.standing.asleep = asleep
            if not asleep:
                endpoint.recover()
            endpoint.changed("asleep" if asleep else "awake")
        elif endpoint.ramp.share == 1.0 and scraped.renewed(before, self._clock.time() - endpoint.slow_start):
            endpoint.recover()
        if endpoint.adaptive is not None:
            endpoint.adaptive.told(scraped.waiting, scraped.running, scraped.stale_at)
        if scraped is NOTHING:
            return
        if self.suspicion.compare(before, scraped):
            self.clear()
        elif self.suspicion.confirmed(endpoint.progressed_at):
            self.suspect("suspected")

    def __repr__(self) -> str:
        return f"<Belief {self._endpoint.name} {self.suspicion!r}>"
