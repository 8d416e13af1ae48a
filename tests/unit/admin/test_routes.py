"""What holds for every route: tokens, roles, strict bodies, one shape of errors."""

from __future__ import annotations

import pytest
from fastapi.routing import iter_route_contexts

from app.admin.routes import LARGEST_BODY
from tests.unit.admin.desk import SECRETS

READS = [
    "/tenants", "/tenants/tnt_x", "/tenants/tnt_x/keys", "/keys/key_x", "/usage", "/usage/requests", "/usage/export",
    "/usage/reconcile",     "/fleet", "/inflight", "/requests/call-x", "/config", "/audit",
]  # fmt: skip
CHANGES = [
    ("POST", "/tenants", "admin"), ("PATCH", "/tenants/tnt_x", "admin"), ("DELETE", "/tenants/tnt_x", "admin"),
    ("POST", "/tenants/tnt_x/keys", "admin"), ("PATCH", "/keys/key_x", "admin"), ("DELETE", "/keys/key_x", "admin"),
    ("POST", "/keys/key_x/rotate", "admin"), ("POST", "/reload", "admin"),
    ("POST", "/fleet/gpu-z/drain", "operator"), ("POST", "/fleet/gpu-z/resume", "operator"),
    ("POST", "/fleet/gpu-z/eject", "operator"), ("POST", "/fleet/gpu-z/restore", "operator"),
    ("DELETE", "/inflight/call-x", "operator"), ("POST", "/explain", "viewer"),
]  # fmt: skip
EVERYTHING = [("GET", path, "viewer") for path in READS] + CHANGES
ASKED = [(method, path) for method, path, _ in EVERYTHING] + [("GET", "/nothing"), ("PUT", "/tenants")]
RANK = ["viewer", "operator", "admin"]


def error(answer) -> dict:
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.json()["error"]


def test_this_file_knows_every_route(desk):
    found = {
        (method, route.path.removeprefix("/admin/v1"))
        for route in iter_route_contexts(desk.app.router.routes)
        for method in route.methods
        if route.path.startswith("/admin/v1")
    }
    known = {
        (
            method,
            path.replace("tnt_x", "{tenant_id}")
            .replace("key_x", "{key_id}")
            .replace("call-x", "{call_id}")
            .replace("gpu-z", "{endpoint}"),
        )
        for method, path, _ in EVERYTHING
    }
    assert {(m, p.replace("/fleet/gpu-a", "/fleet/{endpoint}")) for m, p in found} == known


@pytest.mark.parametrize("role", RANK)
async def test_each_role_does_what_it_may(desk, role):
    desk.reloads.append([])
    async with desk.client(SECRETS[role]) as client:
        for method, path, needed in EVERYTHING:
            answer = await client.request(method, path)
            if RANK.index(role) < RANK.index(needed):
                assert (path, answer.status_code, error(answer)["code"]) == (path, 403, "permission_denied")
            else:
                assert answer.status_code not in (401, 403, 500), path
    assert desk.reloads == ([] if role == "admin" else [[]])


async def test_without_a_token_there_is_only_401(desk):
    async with desk.client(None) as client:
        for n, (method, path) in enumerate(ASKED):
            client._transport.client = (f"10.0.0.{n}", 1)
            answer = await client.request(method, path, content=b"{broken")
            assert (path, answer.status_code, error(answer)["code"]) == (path, 401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for outside in ("/admin/docs", "/admin/openapi.json", "/admin/x", "/admin/"):
            assert (await client.get(f"http://ops{outside}")).status_code == 401


async def test_without_any_tokens_the_admin_api_is_not_there(desk):
    desk.tokens.clear()
    async with desk.client() as client:
        for method, path in ASKED:
            answer = await client.request(method, path)
            assert (path, answer.status_code, error(answer)["code"]) == (path, 404, "not_found")
        for outside in ("/admin/docs", "/admin/openapi.json", "/admin", "/admin/"):
            assert (await client.get(f"http://ops{outside}")).status_code == 404


async def test_a_thousand_guesses_are_slowed_down_and_lock_nobody_out(desk, admin):
    async with desk.client("a guess") as guesser:
        said = [(await guesser.get("/tenants")).status_code for _ in range(30)]
        assert said == [401] * 20 + [429] * 10
        assert "retry-after" in (await guesser.get("/tenants")).headers
    assert (await admin.get("/tenants")).status_code == 200


async def test_a_tenants_key_opens_nothing_here(desk, admin):
    tenant = (await admin.post("/tenants", json={"name": "a"})).json()
    secret = (await admin.post(f"/tenants/{tenant['id']}/keys")).json()["secret"]
    async with desk.client(secret) as client:
        assert (await client.get("/tenants")).status_code == 401


async def test_tokens_of_a_reload_count_at_once(desk, admin):
    desk.tokens[:] = [token for token in desk.tokens if token.role == "viewer"]
    assert (await admin.get("/tenants")).status_code == 401


async def test_unknown_paths_and_wrong_methods_have_one_author(desk, admin):
    answer = await admin.get("/nothing")
    assert (answer.status_code, error(answer)["code"]) == (404, "not_found")
    answer = await admin.put("/tenants", json={})
    assert (answer.status_code, error(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


BROKEN = [
    (b"", "application/json", 400), (b"{", "application/json", 400), (b"[]", "application/json", 400),
    (b"null", "application/json", 400), (b'{"name": NaN}', "application/json", 400),
    (b'{"name": "\xff"}', "application/json", 400), (b'{"name": "\\ud800"}', "application/json", 400),
    (b"[" * 100_000, "application/json", 400), (b'{"a":' * 5000, "application/json", 400),
    (b'{"name": "a"}', "text/plain", 415), (b'{"name": "a"}', "application/x-www-form-urlencoded", 415),
    (b'{"metadata": {"a": "' + b"x" * LARGEST_BODY + b'"}}', "application/json", 413),
]  # fmt: skip


async def test_a_body_that_is_not_strict_json_is_refused(admin):
    for body, media, status in BROKEN:
        answer = await admin.post("/tenants", content=body, headers={"content-type": media})
        assert (body[:40], answer.status_code) == (body[:40], status)
        error(answer)
        assert len(answer.content) < 400


CANARY = "canary-4711"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": " a"}, "name"),
        ({"name": "a\n" + CANARY}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": CANARY * 30}, "name"),
        ({"name": "a", "role": CANARY}, "role"),
        ({"name": "a", "budget": 5}, "budget"),
        ({"name": "a", "id": CANARY}, "id"),
        ({"name": "a", "limits": {"requests_per_minute": CANARY}}, "limits.requests_per_minute"),
        ({"name": "a", "limits": {"requests_per_minute": "5"}}, "limits.requests_per_minute"),
        ({"name": "a", "limits": {"requests_per_minute": -1}}, "limits.requests_per_minute"),
        ({"name": "a", "limits": {"concurrency": 1.5}}, "limits.concurrency"),
        ({"name": "a", "limits": {"concurrency": True}}, "limits.concurrency"),
        ({"name": "a", "limits": {"concurrency": 2**70}}, "limits.concurrency"),
        ({"name": "a", "limits": {"tokens": 1}}, "limits.tokens"),
        ({"name": "a", "model_limits": {"m": {"tokens": 1}}}, "model_limits.m.tokens"),
        ({"name": "a", "models": CANARY}, "models"),
        ({"name": "a", "models": [""]}, "models.0"),
        ({"name": "a", "priority": 2**31}, "priority"),
        ({"name": "a", "disabled": "yes"}, "disabled"),
        ({"name": "a", "metadata": [CANARY]}, "metadata"),
        ({"name": "a", "metadata": {"k": CANARY * 2000}}, "metadata"),
        ({"name": "a", "x\n" + "y" * 300: 1}, "x?" + "y" * 126),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_with_its_rule_and_never_repeated(desk, admin, body, param):
    answer = await admin.post("/tenants", json=body)
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_request")
    assert error(answer)["param"] == param
    assert error(answer)["message"].startswith(f"{param}: ")
    assert CANARY not in answer.text
    assert await desk.audit() == []


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/tenants?limit=0", "limit"), ("/tenants?limit=x", "limit"), ("/tenants?cursor=x", "cursor"),
        ("/tenants?colour=red", "colour"), ("/usage?tenant=t", "tenant"), ("/usage?group_by=colour", "group_by"),
        ("/usage?start=yesterday", "start"), ("/usage?start=nan", "start"), ("/usage?end=inf", "end"),
        ("/usage/requests?state=lost", "state"), ("/usage/export?format=xml", "format"),
        ("/usage?model=%00", "model"), ("/tenants/%01", "tenant_id"), ("/audit?cursor=WyJhIl0=", "cursor"),
    ],
)  # fmt: skip
async def test_a_wrong_question_is_answered_with_its_parameter(admin, path, param):
    answer = await admin.get(path)
    assert (answer.status_code, error(answer)["param"]) == (400, param)


async def test_no_answer_is_kept_by_anybody_on_the_way(admin):
    answer = await admin.get("/tenants")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
