"""Scrapes: how busy endpoints say they are; routing does without when they do not say it."""

from __future__ import annotations

import logging
import math
import random
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.core.units import Seconds
from app.upstream.control import UnansweredError
from app.upstream.prometheus_text import samples
from app.upstream.rounds import Rounds
from app.upstream.scraped import Scraped

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.upstream.control import Control
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet

logger = logging.getLogger(__name__)

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_USAGE = "vllm:kv_cache_usage_perc"
OLD_KV_USAGE = "vllm:gpu_cache_usage_perc"
"""The name up to vLLM 0.10; that release has both."""

NAMES = frozenset({RUNNING, WAITING, KV_USAGE, OLD_KV_USAGE})

STALE_AFTER = 3
"""Intervals without an answer after which figures are forgotten."""


class ScrapeOptions(BaseModel):
    """Seconds between scrapes, and for one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: Seconds = Field(15.0, gt=0)
    timeout: Seconds = Field(2.0, gt=0)


class Scraper:
    """Keeps `LiveEndpoint.scraped` up to date until it is closed."""

    def __init__(
        self,
        fleet: Fleet,
        control: Control,
        clock: Clock,
        options: ScrapeOptions,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        visits = partial(Scrape, control=control, clock=clock, options=options)
        self._rounds = Rounds(fleet, visits, clock, jitter)

    def start(self) -> None:
        """Needs a running loop."""
        self._rounds.start()

    async def first_round(self, patience: float = 1.0) -> None:
        """Done when every endpoint was scraped once, whatever came of it, or `patience` seconds are over."""
        await self._rounds.first(patience)

    def hurry(self, url: str) -> None:
        """Scrape the endpoint there now rather than later."""
        self._rounds.hurry_to(url)

    async def aclose(self) -> None:
        await self._rounds.aclose()


class Scrape:
    """One endpoint's row of scrapes; says once when they begin to fail and once when they work again."""

    def __init__(
        self, endpoint: LiveEndpoint, *, control: Control, clock: Clock, options: ScrapeOptions
    ) -> None:
        self._endpoint = endpoint
        self._control = control
        self._clock = clock
        self._options = options
        self._trouble: str | None = None

    async def __call__(self) -> float:
        """Returns the seconds until the next."""
        try:
            status, body = await self._control.ask(self._endpoint.spec, "/metrics", self._options.timeout)
            trouble = None if status == 200 else f"status {status}"
        except UnansweredError as error:
            trouble = error.reason
        else:
            if trouble is None:
                now = self._clock.monotonic()
                stale_at = now + STALE_AFTER * self._options.interval
                self._endpoint.scraped = read_load(body.decode(errors="replace"), now, stale_at)
        if (trouble is None) != (self._trouble is None):
            logger.warning("metrics of endpoint %s: %s", self._endpoint.name, trouble or "back")
        self._trouble = trouble
        return self._options.interval


def read_load(text: str, now: float, stale_at: float) -> Scraped:
    """Running and waiting summed over engines and models, KV usage of the fullest; NaN is unknown."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for sample in samples(text, NAMES):
        if math.isfinite(sample.value):
            found[sample.name].append(sample.value)
    usage = found[KV_USAGE] or found[OLD_KV_USAGE]
    return Scraped(
        running=sum(found[RUNNING]) if found[RUNNING] else None,
        waiting=sum(found[WAITING]) if found[WAITING] else None,
        kv_usage=max(usage, default=None),
        scraped_at=now,
        stale_at=stale_at,
    )
