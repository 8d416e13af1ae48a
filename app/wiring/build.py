"""From settings to parts, in the order they need each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.api.inference import Edge, Inference
from app.core.clock import SystemClock
from app.gateway.catalog import Catalog
from app.gateway.serve import Gateway
from app.resilience.shedding import Shedding
from app.server.lifecycle import Lifecycle
from app.settings import fleet_plan, offered
from app.upstream.control import ControlPlane
from app.upstream.fleet import Fleet
from app.upstream.health import Prober
from app.upstream.postmortem import Postmortem
from app.upstream.scrape import Scraper
from app.upstream.transport.direct.transport import DirectTransport
from app.upstream.transport.httpx_ import HttpxTransport
from app.upstream.transport.options import TransportOptions
from app.wiring.hearing import open_ears
from app.wiring.house import House
from app.wiring.line import open_line
from app.wiring.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.clock import Clock
    from app.core.ports import Transport
    from app.settings import Settings
    from app.upstream.control import Control
    from app.wiring.hearing import Hearing
    from app.wiring.storage import Storage


async def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    control: Control | None = None,
    reread: Callable[[], Settings] | None = None,
    worker: int | None = None,
) -> House:
    """A house that is not started yet; `reread` loads the configuration again for a reload.

    `worker` is its number among several, whose supervisor has brought the database up to date. Raises StoreRefusal for a database that is not ours to use.
    """
    clock = clock or SystemClock()
    hearing = open_ears(settings, clock)
    storage = await open_storage(settings, clock, hearing.calls.committed, worker=worker)
    fleet = Fleet(fleet_plan(settings), clock, takes=hearing.pace.takes)
    fleet.subscribe(lambda endpoint, word: hearing.calls.endpoint_changed(endpoint.name, word))
    catalog = Catalog(offered(settings), fleet, settings.routing.default_model)
    transport = transport or _transport(settings, clock)
    control = control or ControlPlane(clock)
    lifecycle = Lifecycle()
    postmortem = Postmortem(fleet, clock)
    gateway, rehearsal = open_line(
        settings, clock, storage, fleet, catalog, hearing, transport, postmortem, worker
    )
    shedding = Shedding(settings.server.shedding, settings.server.max_body_in_flight, hearing.lag)
    return House(
        settings=settings,
        clock=clock,
        lifecycle=lifecycle,
        storage=storage,
        fleet=fleet,
        transport=transport,
        control=control,
        prober=Prober(fleet, control, clock, settings.health),
        postmortem=postmortem,
        scraper=Scraper(fleet, control, clock, settings.scrape, counted=storage.engines.heard),
        catalog=catalog,
        inference=_inference(settings, clock, storage, hearing, gateway, lifecycle, shedding),
        shedding=shedding,
        rehearsal=rehearsal,
        hearing=hearing,
        reread=reread,
        worker=worker,
    )


def _transport(settings: Settings, clock: Clock) -> Transport:
    if settings.transport == "httpx":
        return HttpxTransport(TransportOptions())
    return DirectTransport(TransportOptions(), clock)


def _inference(
    settings: Settings,
    clock: Clock,
    storage: Storage,
    hearing: Hearing,
    gateway: Gateway,
    lifecycle: Lifecycle,
    shedding: Shedding,
) -> Inference:
    server = settings.server
    edge = Edge(
        max_body=server.max_body,
        commit_after=server.commit_after,
        ping=server.ping,
        expose_endpoint=server.expose_endpoint,
        session_header=settings.routing.session_header.lower(),
        admitting=lambda: not lifecycle.draining,
        client_of=_client,
    )
    return Inference(
        gateway,
        storage.keys,
        settings.policy,
        edge,
        hearing.inflight,
        hearing.observers,
        hearing.prompts,
        shedding,
        clock,
    )


def _client(scope: Mapping[str, Any]) -> str:
    """Our server has seen to trusted proxies already."""
    client = scope.get("client")
    return str(client[0]) if client else ""
