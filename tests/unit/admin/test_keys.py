"""Keys over REST."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidKey
from app.store.pepper import sha256
from tests.stores import PEPPER
from tests.unit.upstream.fleets import make_call


@pytest.fixture
async def tenant(admin):
    return (await admin.post("/tenants", json={"name": "team", "models": ["a", "b"]})).json()


async def make(admin, tenant, **fields) -> dict:
    answer = await admin.post(f"/tenants/{tenant['id']}/keys", json=fields)
    assert answer.status_code == 201
    return answer.json()


async def opens(desk, secret: str) -> bool:
    """Whether a secret is a key's; the time of its end is for the caller to look at."""
    digest = PEPPER.digest(sha256(secret))
    key = (await desk.stores.lookup.find([digest])).get(digest)
    return key is not None and (key.expires_at is None or key.expires_at > desk.stores.clock.time())


def running(desk, key_id: str) -> list[object]:
    call, stopped = make_call(), []
    object.__setattr__(call.key, "id", key_id)
    desk.inflight.opened(call, stopped.append)
    return stopped


async def test_a_key_is_shown_with_all_it_was_given(desk, admin, tenant):
    fields = {"name": "ci", "expires_at": 1_900_000_000, "models": ["a"], "metadata": {"x": 1}}
    made = await make(admin, tenant, limits={"concurrency": 3}, **fields)
    secret = made.pop("secret")
    assert made["id"].startswith("key_")
    assert (made["tenant_id"], made["prefix"]) == (tenant["id"], secret[:8])
    assert {name: made[name] for name in fields} == fields
    assert made["limits"]["concurrency"] == 3
    assert (await admin.get(f"/keys/{made['id']}")).json() == made
    assert secret.startswith("sk-")
    assert await opens(desk, secret)


async def test_a_key_needs_no_body(desk, admin, tenant):
    answer = await admin.post(f"/tenants/{tenant['id']}/keys")
    assert answer.status_code == 201
    assert (answer.json()["name"], answer.json()["models"], answer.json()["expires_at"]) == ("", None, None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2030-01-02T03:04:05Z", 1_893_553_445.0), ("2030-01-02T04:04:05+01:00", 1_893_553_445.0),
        ("2030-01-02T03:04:05", 1_893_553_445.0), ("1893553445", 1_893_553_445.0), (1_893_553_445.5, 1_893_553_445.5),
    ],
)  # fmt: skip
async def test_a_moment_may_be_written_in_several_ways(admin, tenant, given, kept):
    assert (await make(admin, tenant, expires_at=given))["expires_at"] == kept


@pytest.mark.parametrize("given", ["tomorrow", "nan", "inf", -1, 1e12, True, [], "0000-01-01"])
async def test_what_is_no_moment_is_refused(admin, tenant, given):
    answer = await admin.post(f"/tenants/{tenant['id']}/keys", json={"expires_at": given})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expires_at")


async def test_no_get_ever_shows_a_secret_nor_does_the_audit(desk, admin, tenant):
    made = await make(admin, tenant)
    rotated = (await admin.post(f"/keys/{made['id']}/rotate", json={"overlap_seconds": 60})).json()
    await admin.patch(f"/keys/{made['id']}", json={"name": "x"})
    secrets = {made["secret"], rotated["secret"]}
    paths = [
        "/tenants", f"/tenants/{tenant['id']}", f"/tenants/{tenant['id']}/keys", f"/keys/{made['id']}", "/audit",
        "/config", "/fleet", "/usage", "/usage/requests", "/usage/export",
    ]  # fmt: skip
    for path in paths:
        text = (await admin.get(path)).text
        for secret in secrets:
            assert secret not in text
            assert PEPPER.digest(sha256(secret)) not in text
    patched = await admin.patch(f"/keys/{made['id']}", json={"name": "y"})
    assert "secret" not in patched.json()


async def test_keys_of_nobody_are_not_found(admin, tenant):
    for method, path in (
        ("POST", "/tenants/tnt_x/keys"), ("GET", "/tenants/tnt_x/keys"), ("GET", "/keys/key_x"),
        ("PATCH", "/keys/key_x"), ("DELETE", "/keys/key_x"), ("POST", "/keys/key_x/rotate"),
    ):  # fmt: skip
        answer = await admin.request(method, path, json=None if method in ("GET", "DELETE") else {})
        assert (path, answer.status_code) == (path, 404)


async def test_keys_are_listed_a_page_at_a_time_and_by_tenant(desk, admin, tenant):
    other = (await admin.post("/tenants", json={"name": "other"})).json()
    await make(admin, other, name="foreign")
    for n in range(3):
        desk.stores.clock.advance(1)
        await make(admin, tenant, name=f"k{n}")
    path = f"/tenants/{tenant['id']}/keys"
    first = (await admin.get(path, params={"limit": 2})).json()
    last = (await admin.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [row["name"] for row in first["data"] + last["data"]] == ["k0", "k1", "k2"]
    assert (first["has_more"], last["has_more"]) == (True, False)


async def test_a_patch_leaves_what_is_absent_and_lifts_what_is_null(desk, admin, tenant):
    made = await make(
        admin, tenant, name="ci", expires_at=1_900_000_000, models=["a"], limits={"concurrency": 3}
    )
    path = f"/keys/{made['id']}"
    patched = (await admin.patch(path, json={"disabled": True})).json()
    assert (patched["disabled"], patched["name"], patched["models"]) == (True, "ci", ["a"])
    assert not await opens(desk, made["secret"])
    lifted = (
        await admin.patch(
            path,
            json={"disabled": False, "expires_at": None, "models": None, "limits": {"concurrency": None}},
        )
    ).json()
    assert (lifted["expires_at"], lifted["models"], lifted["limits"]["concurrency"]) == (None, None, None)
    assert await opens(desk, made["secret"])


@pytest.mark.parametrize("field", ["tenant_id", "id", "prefix", "secret", "role", "created_at"])
async def test_a_key_cannot_be_given_what_is_not_for_the_giving(admin, tenant, field):
    made = await make(admin, tenant)
    for method, path in (("PATCH", f"/keys/{made['id']}"), ("POST", f"/tenants/{tenant['id']}/keys")):
        answer = await admin.request(method, path, json={field: "tnt_other"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


async def test_a_revoked_key_opens_nothing_and_is_gone(desk, admin, tenant):
    made = await make(admin, tenant)
    assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
    assert not await opens(desk, made["secret"])
    assert (await admin.get(f"/tenants/{tenant['id']}/keys")).json()["data"] == []
    assert (await admin.delete(f"/keys/{made['id']}")).status_code == 404


async def test_running_calls_finish_unless_they_are_cut_on_purpose(desk, admin, tenant):
    made, other = await make(admin, tenant), await make(admin, tenant)
    mine, others = running(desk, made["id"]), running(desk, other["id"])
    await admin.patch(f"/keys/{made['id']}", json={"disabled": True})
    await admin.patch(f"/keys/{made['id']}?abort=true", json={"disabled": True})
    assert [type(error) for error in mine] == [InvalidKey]
    refused = await admin.patch(f"/keys/{made['id']}?abort=true", json={"name": "x"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "abort")
    await admin.delete(f"/keys/{made['id']}")
    await admin.delete(f"/keys/{other['id']}?abort=true")
    assert (len(mine), len(others)) == (1, 1)


async def test_a_rotated_key_keeps_its_id_and_its_older_secret_for_the_overlap(desk, admin, tenant):
    made = await make(admin, tenant, name="ci")
    desk.stores.clock.advance(1)
    answer = await admin.post(f"/keys/{made['id']}/rotate", json={"overlap_seconds": 60})
    rotated = answer.json()
    assert answer.status_code == 200
    assert (rotated["id"], rotated["name"], rotated["prefix"]) == (made["id"], "ci", rotated["secret"][:8])
    assert await opens(desk, made["secret"])
    desk.stores.clock.advance(60)
    assert not await opens(desk, made["secret"])
    assert await opens(desk, rotated["secret"])


@pytest.mark.parametrize("body", [None, {}, {"overlap_seconds": None}, {"overlap_seconds": 0}])
async def test_without_overlap_the_older_secret_ends_at_once(desk, admin, tenant, body):
    made = await make(admin, tenant)
    rotated = (await admin.post(f"/keys/{made['id']}/rotate", json=body)).json()
    assert not await opens(desk, made["secret"])
    assert await opens(desk, rotated["secret"])


@pytest.mark.parametrize("overlap", [-1, "soon", 1e9])
async def test_an_overlap_is_a_span_of_time(admin, tenant, overlap):
    made = await make(admin, tenant)
    answer = await admin.post(f"/keys/{made['id']}/rotate", json={"overlap_seconds": overlap})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "overlap_seconds")


async def test_every_change_is_written_down(desk, admin, tenant):
    made = await make(admin, tenant, name="ci")
    await admin.patch(f"/keys/{made['id']}", json={"name": "cd"})
    await admin.post(f"/keys/{made['id']}/rotate", json={"overlap_seconds": "1m"})
    await admin.delete(f"/keys/{made['id']}")
    revoked, rotated, updated, created, _ = await desk.audit()
    assert {row["subject"] for row in (revoked, rotated, updated, created)} == {made["id"]}
    assert [row["action"] for row in (created, updated, rotated, revoked)] == [
        "key.create", "key.update", "key.rotate", "key.revoke",
    ]  # fmt: skip
    assert created["detail"]["after"]["name"] == "ci"
    assert updated["detail"] == {"before": {"name": "ci"}, "after": {"name": "cd"}}
    assert rotated["detail"]["overlap_seconds"] == 60
    assert revoked["detail"]["after"] is None
