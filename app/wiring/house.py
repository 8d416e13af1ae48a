"""A running gateway: its parts, and how they start, are looked at, change and end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from app import __version__
from app.core.errors import InvalidKey, ShuttingDown
from app.settings import ConfigError, fleet_plan, offered, prices

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.api.inference import Inference
    from app.core.clock import Clock
    from app.core.ports import Transport
    from app.gateway.catalog import Catalog
    from app.gateway.rehearsal import Rehearsal
    from app.resilience.shedding import Shedding
    from app.server.lifecycle import Lifecycle
    from app.settings import Settings
    from app.telemetry.exposition import Metrics
    from app.upstream.control import Control
    from app.upstream.fleet import Fleet
    from app.upstream.health import Prober
    from app.upstream.postmortem import Postmortem
    from app.upstream.scrape import Scraper
    from app.wiring.hearing import Hearing
    from app.wiring.storage import Storage

logger = logging.getLogger(__name__)


class Colleagues(Protocol):
    """The other workers of a gateway that has several."""

    async def reload(self) -> None:
        """Have all of them, this one too, take the configuration anew. Raises InvalidRequest."""
        ...

    def cut(self, owner: str) -> None:
        """Have the others end the running calls of a key or a tenant."""
        ...


@dataclass(slots=True)
class House:
    """Built by `build`, started once, closed once.

    `worker` is its number where a gateway has several, `colleagues` are the others then.
    """

    settings: Settings
    clock: Clock
    lifecycle: Lifecycle
    storage: Storage
    fleet: Fleet
    transport: Transport
    control: Control
    prober: Prober
    postmortem: Postmortem
    scraper: Scraper
    catalog: Catalog
    inference: Inference
    shedding: Shedding
    rehearsal: Rehearsal
    hearing: Hearing
    reread: Callable[[], Settings] | None = None
    worker: int | None = None
    colleagues: Colleagues | None = None
    reload_successful: bool = True
    connections: Callable[[], int] = lambda: 0
    metrics: Metrics = field(init=False)
    _sampling: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.metrics = self.hearing.metrics(self.fleet, self.storage, lambda: self.reload_successful)

    async def start(self) -> None:
        """Ready to serve when it returns; endpoints that are down do not hold it up."""
        await self.storage.start()
        self.lifecycle.on_abort(lambda: self.hearing.inflight.stop_all(ShuttingDown()))
        self.prober.start()
        self.scraper.start()
        self._sampling = asyncio.create_task(self.hearing.lag.run(), name="loop lag")
        await self.prober.first_round()
        logger.info("serving %d endpoints", len(self.fleet.endpoints))

    async def aclose(self) -> None:
        """Everything queued is written before it returns."""
        await self.prober.aclose()
        await self.postmortem.aclose()
        await self.scraper.aclose()
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.wait({self._sampling})
        await self.transport.aclose()
        await self.control.aclose()
        await self.storage.aclose()
        self.hearing.close()

    def reload(self) -> list[str]:
        """Take the configuration anew, all of it or nothing. Raises ConfigError, and keeps the old one."""
        if self.reread is None:
            return []
        try:
            self.take(self.reread())
        except (ConfigError, ValueError):
            self.reload_successful = False
            raise
        return sorted(self.fleet.endpoints)

    def take(self, settings: Settings) -> None:
        """Become what these settings say, as far as that needs no restart. Raises ValueError, and keeps
        the old ones.
        """
        self.fleet.apply(fleet_plan(settings))
        self.catalog.offer(offered(settings), settings.routing.default_model)
        self.storage.pricing.offer(prices(settings))
        self.shedding.set(settings.server.shedding, settings.server.max_body_in_flight)
        self.settings = settings
        self.reload_successful = True
        logger.info("the configuration was reloaded")

    def cut(self, owner: str) -> None:
        """End the running calls of a key or a tenant, given its id, whichever worker has them."""
        self.hearing.inflight.cut(owner, InvalidKey())
        if self.colleagues is not None:
            self.colleagues.cut(owner)

    def unready(self) -> list[str]:
        """Why this gateway should get no new traffic; what the fleet lacks is no reason."""
        reasons = []
        if not self.lifecycle.ready:
            reasons.append(self.lifecycle.state.name.lower())
        if self.storage.ledger.overdue:
            full = self.storage.journal.full
            reasons.append("the journal is full" if full else "usage cannot be recorded")
        return reasons

    def info(self) -> dict[str, Any]:
        return {"name": "sluice", "version": __version__, "transport": self.settings.transport}

    def status(self) -> dict[str, Any]:
        """One JSON: this gateway, its endpoints and pools."""
        shared = self.storage.shared
        return {
            "state": self.lifecycle.state.name.lower(),
            "version": __version__,
            "connections": self.connections(),
            "body_bytes": self.shedding.held,
            "ledger_pending": self.storage.ledger.pending,
            "journal_backlog": self.storage.journal.backlog,
            **({} if shared is None else {"shared_limits": shared.status()}),
            **self.fleet.status(),
        }
