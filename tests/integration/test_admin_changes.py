"""A change made over REST is in force when it is answered, on either database."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from app.admin import admin_router
from app.admin.access import Access, Token
from app.admin.parts import AdminParts
from app.admin.wishes import Wishes
from app.api import me, problems
from app.core.errors import InvalidKey, StorageUnavailable
from app.state.memory import MemoryCounters
from app.store.changes import Changes
from app.store.reconcile import Reconciliation
from app.telemetry.decisions import DecisionLog
from app.telemetry.inflight import InFlightTable
from app.tenancy.calendar import Calendar
from app.tenancy.keys import Keys
from app.tenancy.limiter import Limiter
from tests.stores import PEPPER, opened, usage_row
from tests.unit.upstream.fleets import make_fleet, spec

pytest_plugins = ("tests.postgres",)

ADMIN = "an-admins-token-0123"


async def no_reload() -> list[str]:
    return []


async def no_rehearsal(question) -> dict:
    return {}


@asynccontextmanager
async def operated(url):
    """The stores, the keys of this process and of another one, and a client for both ports."""
    async with opened(url) as stores:
        clock = stores.clock
        fleet = make_fleet(spec("gpu-a"), clock=clock)
        keys = Keys(stores.lookup, stores.changes, PEPPER, clock)
        parts = AdminParts(
            Access(lambda: [Token.of("root", "admin", ADMIN)], clock), stores.tenants, stores.keys, stores.reports,
            Reconciliation(stores.database), stores.audit, fleet, Wishes(stores.intents, stores.changes, fleet, clock), InFlightTable(clock),
            DecisionLog().explain, no_rehearsal, print, no_reload, dict, clock,
        )  # fmt: skip
        app = FastAPI(redirect_slashes=False)
        problems.install(app)
        app.include_router(admin_router(parts), prefix="/admin")
        limiter = Limiter(MemoryCounters(clock), clock, Calendar())
        app.include_router(me.router(keys, limiter, stores.reports, clock))
        await stores.changes.look()
        headers = {"authorization": f"Bearer {ADMIN}"}
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://ops/admin/v1", headers=headers
        ) as client:
            yield stores, keys, client
        await keys.aclose()


async def make(client, **fields):
    tenant = (await client.post("/tenants", json={"name": "team", **fields})).json()
    return tenant, (await client.post(f"/tenants/{tenant['id']}/keys", json={})).json()


@pytest.mark.parametrize("how", ["revoke", "disable", "expire", "rotate", "disable tenant", "delete tenant"])
async def test_a_key_that_ends_is_refused_at_once(store_url, how):
    async with operated(store_url) as (stores, keys, client):
        tenant, made = await make(client)
        key_path, tenant_path = f"/keys/{made['id']}", f"/tenants/{tenant['id']}"
        assert (await keys.find(made["secret"])).id == made["id"]
        request = {
            "revoke": ("DELETE", key_path, None),
            "disable": ("PATCH", key_path, {"disabled": True}),
            "expire": ("PATCH", key_path, {"expires_at": stores.clock.time()}),
            "rotate": ("POST", f"{key_path}/rotate", {"overlap_seconds": 0}),
            "disable tenant": ("PATCH", tenant_path, {"disabled": True}),
            "delete tenant": ("DELETE", tenant_path, None),
        }[how]
        answer = await client.request(request[0], request[1], json=request[2])
        assert answer.is_success
        assert keys.known(made["secret"]) is None
        with pytest.raises(InvalidKey):
            await keys.find(made["secret"])


async def test_another_gateway_notices_at_its_next_look(store_url):
    async with operated(store_url) as (stores, _, client):
        changes = Changes(stores.database, stores.clock)
        elsewhere = Keys(stores.lookup, changes, PEPPER, stores.clock)
        tenant, made = await make(client)
        await changes.look()
        assert (await elsewhere.find(made["secret"])).tenant.limits.concurrency is None
        await client.patch(f"/tenants/{tenant['id']}", json={"limits": {"concurrency": 7}})
        await changes.look()
        assert elsewhere.known(made["secret"]).tenant.limits.concurrency == 7
        await client.delete(f"/keys/{made['id']}")
        await changes.look()
        assert elsewhere.known(made["secret"]) is None


async def test_a_key_sees_the_usage_the_ledger_has_of_it(store_url):
    async with operated(store_url) as (stores, _, client):
        tenant, made = await make(client, models=["b", "a"], limits={"tokens_per_day": 100})
        mine = {"tenant_id": tenant["id"], "key_id": made["id"]}
        await stores.rows.write(
            [
                usage_row("a", **mine),
                usage_row("b", **mine),
                usage_row("c", tenant_id=tenant["id"]),
                usage_row("d", **mine, started_at=stores.clock.time() - 31 * 86_400),
            ]
        )
        answer = await client.get("http://gw/v1/me", headers={"authorization": f"Bearer {made['secret']}"})
        told = answer.json()
        assert (told["id"], told["tenant"], told["models"]) == (made["id"], "team", ["a", "b"])
        assert [(row["day"], row["requests"], row["total_tokens"]) for row in told["usage"]] == [
            ("2026-11-18", 2, 60)
        ]
        assert [(row["rule"], row["limit"], row["used"]) for row in told["limits"]] == [
            ("tokens_per_day", 100, 0)
        ]


async def test_tokens_open_the_operators_edge_and_keys_the_callers_edge_and_never_the_other(store_url):
    async with operated(store_url) as (_, _, client):
        _, made = await make(client)
        assert (await client.get("http://gw/v1/me")).status_code == 401
        assert (
            await client.get("/tenants", headers={"authorization": f"Bearer {made['secret']}"})
        ).status_code == 401


NASTY = [
    "x' OR '1'='1",
    'x"; DROP TABLE tenants; --',
    "100%",
    "a_c",
    "\\",
    "ünïcödé 漢字 🦊",
    "<script>alert(1)</script>",
]


async def test_nothing_in_a_name_is_ever_more_than_a_name(store_url):
    async with operated(store_url) as (stores, _, client):
        for name in NASTY:
            made = await client.post(
                "/tenants", json={"name": name, "metadata": {name: name}, "models": [name]}
            )
            assert (made.status_code, made.json()["name"], made.json()["metadata"]) == (
                201,
                name,
                {name: name},
            )
            found = (await client.get("/tenants", params={"name": name})).json()["data"]
            assert [row["name"] for row in found] == [name]
            for path in ("/usage", "/usage/requests", "/usage/export"):
                for field in ("tenant_id", "key_id", "model", "endpoint", "surface"):
                    assert (await client.get(path, params={field: name})).status_code == 200
        listed = (await client.get("/tenants", params={"limit": 1000})).json()["data"]
        assert {row["name"] for row in listed} == set(NASTY)
        assert len((await stores.audit.page()).rows) == len(NASTY)


async def test_a_page_of_every_list_ends(store_url):
    async with operated(store_url) as (stores, _, client):
        tenant, _ = await make(client)
        await client.post(f"/tenants/{tenant['id']}/keys", json={})
        await client.post("/tenants", json={"name": "other"})
        await stores.rows.write([usage_row("a"), usage_row("b")])
        for path in ("/tenants", f"/tenants/{tenant['id']}/keys", "/usage/requests", "/audit"):
            seen, query = [], {"limit": 1}
            for _ in range(10):
                page = (await client.get(path, params=query)).json()
                seen += page["data"]
                if not page["has_more"]:
                    break
                query["cursor"] = page["next_cursor"]
            assert seen == (await client.get(path)).json()["data"]
            assert len(seen) > 1


async def test_a_wish_about_the_fleet_is_kept_in_the_store(store_url):
    async with operated(store_url) as (stores, _, client):
        await client.post("/fleet/gpu-a/drain", json={"for": "1h", "reason": "driver"})
        kept = (await stores.intents.all())["gpu-a"]
        assert (kept.intent, kept.reason, kept.actor) == ("drain", "driver", "root")
        assert kept.until == stores.clock.time() + 3600
        await client.post("/fleet/gpu-a/resume")
        assert await stores.intents.all() == {}


async def test_when_the_store_is_away_a_change_is_refused_and_the_fleet_still_shown(store_url, monkeypatch):
    async with operated(store_url) as (stores, _, client):

        async def away(*_, **__):
            raise StorageUnavailable

        monkeypatch.setattr(stores.intents, "say", away)
        answer = await client.post("/fleet/gpu-a/drain")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
        assert (await client.get("/fleet")).json()["data"][0]["state"] == "up"
