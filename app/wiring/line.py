"""The line of a call and its rehearsal: the parts that both walk are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.gateway.attempt import Sender
from app.gateway.dispatch import Dispatch
from app.gateway.outbound import Outbounds
from app.gateway.prospect import Prospects
from app.gateway.question import Imagination
from app.gateway.rehearsal import Rehearsal
from app.gateway.serve import Gateway
from app.resilience.budget import RetryBudget
from app.resilience.fuse import Fuse
from app.tenancy.guards import LimitGuard

if TYPE_CHECKING:
    from app.core.clock import Clock
    from app.core.ports import Transport
    from app.gateway.catalog import Catalog
    from app.resilience.deadline import TimeoutOptions
    from app.settings import Settings
    from app.upstream.fleet import Fleet
    from app.upstream.postmortem import Postmortem
    from app.wiring.hearing import Hearing
    from app.wiring.storage import Storage


def open_line(
    settings: Settings,
    clock: Clock,
    storage: Storage,
    fleet: Fleet,
    catalog: Catalog,
    hearing: Hearing,
    transport: Transport,
    postmortem: Postmortem,
    worker: int | None,
) -> tuple[Gateway, Rehearsal]:
    """What serves calls, and what tells how it would."""

    def timeouts(model: str, endpoint: str | None = None) -> TimeoutOptions:
        return fleet.plan.resilience_for(model, endpoint).timeouts

    def counted() -> str:
        if storage.shared is None:
            return "process"
        return "redis" if storage.shared.up else "share"

    retry = settings.resilience.retry
    fuse = Fuse(
        lambda model, endpoint: fleet.plan.resilience_for(model, endpoint).fuse, clock, examine=postmortem
    )
    salt = storage.cache_salt if settings.policy.cache_salt == "tenant" else None
    sender = Sender(transport, Outbounds(salt), timeouts, clock)
    dispatch = Dispatch(
        sender,
        lambda model: fleet.plan.resilience_for(model, None).retry,
        RetryBudget(retry.budget_ratio, retry.budget_min_per_second, clock),
        fuse,
        clock,
    )
    guards = (LimitGuard(storage.limiter),)
    gateway = Gateway(
        catalog, guards, storage.ledger, dispatch, hearing.observers, timeouts, hearing.pace, fuse, clock
    )
    imagination = Imagination(catalog, hearing.prompts, settings.policy, clock)
    prospects = Prospects(fleet, sender)
    return gateway, Rehearsal(imagination, catalog, storage.limiter, prospects, counted, worker)
