"""Scrapes: how busy endpoints say they are, and what they counted; routing does without when they say nothing."""

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
from app.upstream.scraped import NOTHING, Scraped, TokenCount

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.clock import Clock
    from app.upstream.control import Control
    from app.upstream.endpoint import LiveEndpoint
    from app.upstream.fleet import Fleet

    Counted = Callable[[str, list[TokenCount]], object]

logger = logging.getLogger(__name__)

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_USAGE = "vllm:kv_cache_usage_perc"
OLD_KV_USAGE = "vllm:gpu_cache_usage_perc"
"""The name up to vLLM 0.10; that release has both."""
SLEEP = "vllm:engine_sleep_state"

NAMES = frozenset({RUNNING, WAITING, KV_USAGE, OLD_KV_USAGE, SLEEP})

PROMPT = "vllm:prompt_tokens"
COMPLETION = "vllm:generation_tokens"
COUNTS = frozenset(f"{name}_{kind}" for name in (PROMPT, COMPLETION) for kind in ("total", "created"))

_MOST = 2**53
_LONGEST_NAME = 256

STALE_AFTER = 3
"""Intervals without an answer after which figures are forgotten."""

HURRIED = 1.0
"""Seconds, at most, between scrapes of an endpoint that sleeps or may be stuck."""


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
        counted: Counted = lambda endpoint, counts: None,
    ) -> None:
        """`counted` hears, after each scrape, the endpoint's name and what it says it counted."""
        visits = partial(Scrape, control=control, clock=clock, options=options, counted=counted)
        self._fleet = fleet
        self._rounds = Rounds(fleet, visits, clock, jitter)

    def start(self) -> None:
        """Needs a running loop."""
        self._rounds.start()
        self._fleet.subscribe(self._hear)

    async def first_round(self, patience: float = 1.0) -> None:
        """Done when every endpoint was scraped once, whatever came of it, or `patience` seconds are over."""
        await self._rounds.first(patience)

    def hurry(self, url: str) -> None:
        """Scrape the endpoint there now rather than later."""
        self._rounds.hurry_to(url)

    async def aclose(self) -> None:
        await self._rounds.aclose()

    def _hear(self, endpoint: LiveEndpoint, word: str) -> None:
        if word in {"silent", "suspected"}:
            self._rounds.hurry(endpoint)


class Scrape:
    """One endpoint's row of scrapes; says once when they begin to fail and once when they work again.

    They follow each other faster while the endpoint sleeps or may be stuck.
    """

    def __init__(
        self,
        endpoint: LiveEndpoint,
        *,
        control: Control,
        clock: Clock,
        options: ScrapeOptions,
        counted: Counted = lambda endpoint, counts: None,
    ) -> None:
        self._endpoint = endpoint
        self._control = control
        self._clock = clock
        self._options = options
        self._counted = counted
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
                page = body.decode(errors="replace")
                counts = read_counts(page)
                self._endpoint.belief.hear(read_load(page, counts, now, stale_at))
                self._counted(self._endpoint.name, counts)
        if (trouble is None) != (self._trouble is None):
            logger.warning("metrics of endpoint %s: %s", self._endpoint.name, trouble or "back")
        self._trouble = trouble
        if self._endpoint.scraped is NOTHING:
            self._endpoint.belief.hear(NOTHING)
        interval = self._options.interval
        return min(interval, HURRIED) if self._endpoint.belief.questionable else interval


def read_load(text: str, counts: list[TokenCount], now: float, stale_at: float) -> Scraped:
    """Running and waiting summed over engines and models, KV usage of the fullest; NaN is unknown.

    It sleeps when all its engines do.
    """
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for sample in samples(text, NAMES):
        if math.isfinite(sample.value) and sample.labels.get("sleep_state", "awake") == "awake":
            found[sample.name].append(sample.value)
    usage = found[KV_USAGE] or found[OLD_KV_USAGE]
    lives = [count.life for count in counts if count.life is not None]
    return Scraped(
        running=sum(found[RUNNING]) if found[RUNNING] else None,
        waiting=sum(found[WAITING]) if found[WAITING] else None,
        kv_usage=max(usage, default=None),
        asleep=not any(found[SLEEP]) if found[SLEEP] else None,
        tokens=sum(count.prompt + count.completion for count in counts) if counts else None,
        life=min(lives, default=None),
        scraped_at=now,
        stale_at=stale_at,
    )


def read_counts(text: str) -> list[TokenCount]:
    """One for each engine and model; a counter that is missing is at 0, `life` is the younger one's."""
    found: dict[str, dict[str, float]] = {}
    for sample in samples(text, COUNTS):
        if 0 <= sample.value < _MOST:
            series = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found.setdefault(series[:_LONGEST_NAME], {})[sample.name] = sample.value
    counts = []
    for series, values in sorted(found.items()):
        lives = [values[f"{name}_created"] for name in (PROMPT, COMPLETION) if f"{name}_created" in values]
        totals = [int(values.get(f"{name}_total", 0)) for name in (PROMPT, COMPLETION)]
        counts.append(TokenCount(series, max(lives, default=None), *totals))
    return counts
