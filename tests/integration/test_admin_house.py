"""The operators' edge of a whole house: its tokens, its configuration, and wishes that outlive it."""

from __future__ import annotations

import json
import shutil
from contextlib import asynccontextmanager

import httpx
import pytest

from app.main import create_ops_app
from app.settings import load
from app.store.migrate import migrate
from app.wiring import build

ROOT, ALICE = "the-root-token-of-the-tests", "alices-token-of-the-tests"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("house") / "sluice.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def file(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "sluice.db")
    path = tmp_path / "sluice.yaml"
    write(path)
    return path


def write(path, **changes) -> None:
    tree = {
        "database_url": f"sqlite:///{path.parent}/sluice.db",
        "admin_token": ROOT,
        "admin": {"tokens": [{"name": "alice", "role": "operator", "token": ALICE}]},
        "vllm_endpoints": [
            {"name": "gpu-a", "url": "http://127.0.0.1:1", "models": ["m"], "api_key": "sk-gpu-a-secret"}
        ],
        "logging": {"access": {"enabled": False}},
    }
    path.write_text(
        json.dumps({name: value for name, value in (tree | changes).items() if value is not None})
    )


@asynccontextmanager
async def operated(file):
    """A started house and a client of its operators' port."""
    house = await build(load(file, environ={}), reread=lambda: load(file, environ={}))
    try:
        app = create_ops_app(house)
        await house.start()
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        headers = {"authorization": f"Bearer {ROOT}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://ops/admin/v1", headers=headers
        ) as client:
            yield house, client
    finally:
        await house.aclose()


async def test_tokens_are_those_of_the_configuration(file):
    async with operated(file) as (_, client):
        await client.post("/tenants", json={"name": "team"})
        alice = {"authorization": f"Bearer {ALICE}"}
        await client.post("/fleet/gpu-a/drain", headers=alice)
        assert (await client.post("/tenants", json={"name": "b"}, headers=alice)).status_code == 403
        rows = (await client.get("/audit")).json()["data"]
        assert [(row["actor"], row["origin"]) for row in rows] == [
            ("alice", "127.0.0.1"),
            ("root", "127.0.0.1"),
        ]


async def test_without_a_token_there_is_no_admin_api(file):
    write(file, admin_token=None, admin=None)
    async with operated(file) as (_, client):
        for path in ("/tenants", "http://ops/admin/docs"):
            assert (await client.get(path)).status_code == 404


async def test_the_configuration_is_shown_without_its_secrets(file):
    async with operated(file) as (_, client):
        answer = await client.get("/config")
        assert answer.json()["vllm_endpoints"][0]["name"] == "gpu-a"
        for secret in (ROOT, ALICE, "sk-gpu-a-secret"):
            assert secret not in answer.text


async def test_a_reload_is_all_or_nothing_and_tells_what_changed(file):
    async with operated(file) as (house, client):
        write(file, routing={"strategy": "nonsense"})
        refused = await client.post("/reload")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "routing.strategy")
        assert house.settings.routing.strategy == "least_load"
        write(file, routing={"strategy": "random"}, admin=None)
        answer = await client.post("/reload")
        assert "routing.strategy" in answer.json()["changed"]
        assert house.settings.routing.strategy == "random"
        assert (await client.get("/tenants", headers={"authorization": f"Bearer {ALICE}"})).status_code == 401
        assert [row["action"] for row in (await client.get("/audit")).json()["data"]] == ["config.reload"]


async def test_a_plan_that_cannot_be_is_refused_too(file, monkeypatch):
    async with operated(file) as (house, client):

        def impossible(plan) -> None:
            raise ValueError("resilience.retry: cannot be")

        monkeypatch.setattr(type(house.fleet), "apply", lambda self, plan: impossible(plan))
        answer = await client.post("/reload")
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "resilience.retry: cannot be")


async def test_a_drain_outlives_the_gateway(file):
    async with operated(file) as (_, client):
        await client.post("/fleet/gpu-a/drain", json={"reason": "new driver"})
    async with operated(file) as (_, client):
        row = (await client.get("/fleet")).json()["data"][0]
        assert (row["state"], row["intent"]["reason"], row["intent"]["actor"]) == (
            "drained",
            "new driver",
            "root",
        )
        assert (await client.post("/fleet/gpu-a/resume")).json()["intent"] is None
    async with operated(file) as (_, client):
        assert (await client.get("/fleet")).json()["data"][0]["state"] != "drained"
