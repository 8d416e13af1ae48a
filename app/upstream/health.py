"""Health probes: what endpoints say of themselves, weighed against what calls see of them."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.core.units import Seconds
from app.upstream.checkup import Checkup
from app.upstream.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.upstream.control import Control
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet


class HealthOptions(BaseModel):
    """`interval_down` is the pace while an endpoint is not fully in use; counts are probes in a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: Seconds = Field(5.0, gt=0)
    interval_down: Seconds = Field(1.0, gt=0)
    timeout: Seconds = Field(5.0, gt=0)
    healthy_after: int = Field(2, ge=1)
    unhealthy_after: int = Field(3, ge=1)


class Prober:
    """Keeps health, model lists and the recovery of every endpoint up to date until it is closed."""

    def __init__(
        self,
        fleet: Fleet,
        control: Control,
        clock: Clock,
        options: HealthOptions,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._rounds = Rounds(
            fleet, partial(Checkup, control=control, clock=clock, options=options), clock, jitter
        )

    def start(self) -> None:
        """Needs a running loop."""
        self._rounds.start()
        self._fleet.subscribe(self._hear)

    async def first_round(self, patience: float = 1.0) -> None:
        """Done when every endpoint was probed once, whatever came of it, or `patience` seconds are over."""
        await self._rounds.first(patience)

    def hurry(self, url: str) -> None:
        """Look at the endpoint there now rather than later."""
        self._rounds.hurry_to(url)

    async def aclose(self) -> None:
        await self._rounds.aclose()

    def _hear(self, endpoint: LiveEndpoint, word: str) -> None:
        if word in {"open", "draining", "suspected"}:
            self._rounds.hurry(endpoint)

    def __repr__(self) -> str:
        return f"<Prober {self._rounds!r}>"
