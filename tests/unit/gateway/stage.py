"""A rehearsal over a small fleet, with nothing behind it."""

from __future__ import annotations

from app.gateway.attempt import Sender
from app.gateway.catalog import Catalog, Model
from app.gateway.outbound import Outbounds
from app.gateway.prospect import Prospects
from app.gateway.question import Imagination
from app.gateway.rehearsal import Rehearsal
from app.tenancy.limiter import Limiter
from app.upstream.fleet import Fleet
from app.wire.learnt import Prompts
from app.wire.request import Policy
from tests.clock import FakeClock
from tests.fakes import ScriptedTransport

MODELS = {
    "m": Model("m", aliases=("alias",), fallbacks=("n",), defaults={"temperature": 0.7}),
    "n": Model("n"),
}


def prospects(fleet: Fleet) -> Prospects:
    clock = FakeClock()

    def timeouts(model, endpoint):
        return fleet.plan.resilience_for(model, endpoint).timeouts

    return Prospects(fleet, Sender(ScriptedTransport(), Outbounds(), timeouts, clock))


def imagination(catalog: Catalog) -> Imagination:
    return Imagination(catalog, Prompts(), Policy(), FakeClock())


def stage(fleet: Fleet, limiter: Limiter, *, default: str | None = None) -> Rehearsal:
    catalog = Catalog(MODELS, fleet, default)
    return Rehearsal(imagination(catalog), catalog, limiter, prospects(fleet), lambda: "process")
