"""An operator's desk for tests: the admin REST over a real SQLite database and a small fleet."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from fastapi import FastAPI

from app.admin import admin_router
from app.admin.access import Access, Token
from app.admin.parts import AdminParts
from app.admin.wishes import Wishes
from app.api import problems
from app.core.errors import InvalidKey
from app.state.memory import MemoryCounters
from app.store.reconcile import Reconciliation
from app.telemetry.decisions import DecisionLog
from app.telemetry.inflight import InFlightTable
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from app.upstream.fleet import Fleet
from tests.stores import Stores, opened
from tests.unit.gateway.stage import stage
from tests.unit.upstream.fleets import make_fleet, spec

SECRETS = {role: f"{role}-token-0123456789" for role in ("admin", "operator", "viewer")}
TOKENS = [Token.of(f"{role}-ann", role, secret) for role, secret in SECRETS.items()]
PEER = "10.1.1.1"


@dataclass
class Desk:
    stores: Stores
    fleet: Fleet
    inflight: InFlightTable
    decisions: DecisionLog
    parts: AdminParts
    app: FastAPI
    tokens: list[Token] = field(default_factory=list)
    reloads: list[object] = field(default_factory=list)

    def client(self, secret: str | None = SECRETS["admin"], peer: str = PEER) -> httpx.AsyncClient:
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        transport = httpx.ASGITransport(self.app, client=(peer, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://ops/admin/v1", headers=headers)

    async def audit(self) -> list[dict]:
        async with self.client() as client:
            return (await client.get("/audit")).json()["data"]


def _app() -> FastAPI:
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)


def wishes_of(stores: Stores, fleet: Fleet) -> Wishes:
    return Wishes(stores.intents, stores.changes, fleet, stores.clock)


@asynccontextmanager
async def desk(folder):
    """Over the migrated database in `folder`: gpu-a and gpu-b; tokens of all roles; `reloads` are answers."""
    async with opened(f"sqlite:///{folder}/sluice.db", migrated=False) as stores:
        fleet = make_fleet(spec("gpu-a"), spec("gpu-b"), clock=stores.clock)
        made = Desk(stores, fleet, InFlightTable(stores.clock), DecisionLog(), None, _app(), [*TOKENS])

        async def reload() -> list[str]:
            told = made.reloads.pop(0)
            if isinstance(told, Exception):
                raise told
            return told

        made.parts = AdminParts(
            access=Access(lambda: made.tokens, stores.clock),
            tenants=stores.tenants,
            keys=stores.keys,
            reports=stores.reports,
            reconciliation=Reconciliation(stores.database),
            audit=stores.audit,
            fleet=fleet,
            wishes=wishes_of(stores, fleet),
            inflight=made.inflight,
            explain=made.decisions.explain,
            rehearse=stage(fleet, Limiter(MemoryCounters(stores.clock), stores.clock, Calendar())),
            cut=lambda owner: made.inflight.cut(owner, InvalidKey()),
            reload=reload,
            config=lambda: {"admin_token": "**********", "server": {"port": 9000}},
            clock=stores.clock,
        )
        await stores.changes.look()
        problems.install(made.app)
        made.app.include_router(admin_router(made.parts), prefix="/admin")
        yield made
