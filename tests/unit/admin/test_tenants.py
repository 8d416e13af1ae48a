"""Tenants over REST."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidKey
from tests.unit.upstream.fleets import make_call

NO_LIMITS = dict.fromkeys(
    (
        "requests_per_minute",
        "tokens_per_minute",
        "concurrency",
        "tokens_per_day",
        "tokens_per_month",
        "requests_burst",
        "tokens_burst",
    )
)


async def make(admin, name="team", **fields) -> dict:
    answer = await admin.post("/tenants", json={"name": name, **fields})
    assert answer.status_code == 201
    return answer.json()


def running(desk, tenant_id: str) -> list[object]:
    """A call of that tenant; its list fills when it is stopped."""
    call, stopped = make_call(), []
    object.__setattr__(call.key.tenant, "id", tenant_id)
    desk.inflight.opened(call, stopped.append)
    return stopped


async def test_a_tenant_is_shown_with_all_it_was_given(admin):
    made = await make(
        admin,
        limits={"requests_per_minute": 5, "tokens_per_day": None},
        model_limits={"org/m": {"concurrency": 1}},
        models=["org/m"],
        priority=-3,
        disabled=True,
        metadata={"centre": {"cost": [1, 2.5, None]}},
    )
    assert made["id"].startswith("tnt_")
    assert made["limits"] == NO_LIMITS | {"requests_per_minute": 5}
    assert made["model_limits"] == {"org/m": NO_LIMITS | {"concurrency": 1}}
    assert (made["name"], made["models"], made["priority"], made["disabled"]) == ("team", ["org/m"], -3, True)
    assert made["metadata"] == {"centre": {"cost": [1, 2.5, None]}}
    assert (await admin.get(f"/tenants/{made['id']}")).json() == made


async def test_a_name_alone_is_enough_and_limits_nothing(admin):
    made = await make(admin, "équipe '\"%_\\ <script>")
    assert (made["limits"], made["model_limits"], made["models"]) == (NO_LIMITS, {}, None)
    assert (made["priority"], made["disabled"], made["metadata"]) == (0, False, {})


async def test_a_taken_name_is_a_conflict_until_its_tenant_is_deleted(admin):
    first, other = await make(admin), await make(admin, "other")
    taken = await admin.post("/tenants", json={"name": "team"})
    renamed = await admin.patch(f"/tenants/{other['id']}", json={"name": "team"})
    for answer in (taken, renamed):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert answer.json()["error"]["param"] == "name"
    assert (await admin.delete(f"/tenants/{first['id']}")).status_code == 204
    assert (await make(admin))["id"] != first["id"]


async def test_a_patch_leaves_what_is_absent_and_lifts_what_is_null(admin):
    made = await make(admin, limits={"requests_per_minute": 5, "concurrency": 2}, models=["a"], priority=4)
    path = f"/tenants/{made['id']}"
    patched = (await admin.patch(path, json={"limits": {"concurrency": None}, "models": []})).json()
    assert patched["limits"] == NO_LIMITS | {"requests_per_minute": 5}
    assert (patched["models"], patched["priority"], patched["name"]) == ([], 4, "team")
    lifted = (await admin.patch(path, json={"limits": None, "models": None, "metadata": None})).json()
    assert (lifted["limits"], lifted["models"], lifted["metadata"]) == (NO_LIMITS, None, {})
    assert (await admin.patch(path, json={})).json() == lifted


async def test_bursts_and_strictness_stay_until_they_are_changed(admin):
    limits = {"requests_per_minute": 600, "requests_burst": 5, "tokens_burst": 90}
    made = await make(admin, limits=limits, strict=True)
    path = f"/tenants/{made['id']}"
    assert (made["limits"], made["strict"]) == (NO_LIMITS | limits, True)
    patched = (await admin.patch(path, json={"limits": {"requests_burst": None}})).json()
    assert patched["limits"] == NO_LIMITS | {"requests_per_minute": 600, "tokens_burst": 90}
    assert patched["strict"] is True
    lifted = (await admin.patch(path, json={"limits": None})).json()
    assert (lifted["limits"], lifted["strict"]) == (NO_LIMITS, True)
    assert (await admin.patch(path, json={"strict": None})).json()["strict"] is False
    refused = await admin.patch(path, json={"limits": {"tokens_burst": 0}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limits.tokens_burst")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_or_deleted_tenant_is_not_found(desk, admin, method):
    made = await make(admin)
    await admin.delete(f"/tenants/{made['id']}")
    for tenant_id in (made["id"], "tnt_nobody", "' OR 1=1 --".replace(" ", "+")):
        answer = await admin.request(method, f"/tenants/{tenant_id}", json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert [row["action"] for row in await desk.audit()] == ["tenant.delete", "tenant.create"]


async def test_tenants_are_listed_a_page_at_a_time(desk, admin):
    assert (await admin.get("/tenants")).json() == {
        "object": "list", "data": [], "has_more": False, "next_cursor": None,
    }  # fmt: skip
    names = [f"t{n}" for n in range(5)]
    for name in names:
        await make(admin, name)
        desk.stores.clock.advance(1)
    seen, cursor = [], None
    for more in (True, True, False):
        page = (
            await admin.get("/tenants", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        assert (page["object"], page["has_more"]) == ("list", more)
        seen += [row["name"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (names, None)


async def test_a_tenant_is_found_by_its_whole_name_only(admin):
    made = await make(admin, "team 1")
    assert (await admin.get("/tenants", params={"name": "team 1"})).json()["data"] == [made]
    for other in ("team", "team%", "TEAM 1"):
        assert (await admin.get("/tenants", params={"name": other})).json()["data"] == []


async def test_deleting_ends_the_keys_and_keeps_the_ledger(desk, admin):
    made = await make(admin)
    key = (await admin.post(f"/tenants/{made['id']}/keys")).json()
    await admin.delete(f"/tenants/{made['id']}")
    assert (await admin.get(f"/keys/{key['id']}")).status_code == 404
    assert (await admin.get(f"/tenants/{made['id']}/keys")).status_code == 404


async def test_running_calls_finish_unless_they_are_cut_on_purpose(desk, admin):
    made, other = await make(admin), await make(admin, "other")
    mine, others = running(desk, made["id"]), running(desk, other["id"])
    path = f"/tenants/{made['id']}"
    await admin.patch(path, json={"disabled": True})
    assert mine == []
    await admin.patch(f"{path}?abort=true", json={"disabled": True})
    assert [type(error) for error in mine] == [InvalidKey]
    await admin.delete(path)
    assert len(mine) == 1
    await admin.delete(f"/tenants/{other['id']}?abort=true")
    assert (len(mine), len(others)) == (1, 1)


async def test_only_what_is_disabled_can_be_cut(desk, admin):
    made = await make(admin)
    stopped = running(desk, made["id"])
    for body in ({}, {"disabled": False}, {"priority": 1}):
        answer = await admin.patch(f"/tenants/{made['id']}?abort=true", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "abort")
    assert stopped == []


async def test_every_change_is_written_down_with_what_was_and_what_is(desk, admin):
    made = await make(admin, limits={"concurrency": 2})
    async with desk.client(peer="2001:db8::7") as elsewhere:
        await elsewhere.patch(f"/tenants/{made['id']}", json={"priority": 2, "name": "team"})
    await admin.delete(f"/tenants/{made['id']}")
    deleted, updated, created = await desk.audit()
    assert (created["actor"], created["action"], created["subject"]) == (
        "admin-ann",
        "tenant.create",
        made["id"],
    )
    assert (created["origin"], created["at"]) == ("10.1.1.1", desk.stores.clock.time())
    assert created["detail"]["before"] is None
    assert created["detail"]["after"]["limits"]["concurrency"] == 2
    assert updated["detail"] == {"before": {"priority": 0}, "after": {"priority": 2}}
    assert updated["origin"] == "2001:db8::7"
    assert (deleted["detail"]["before"]["name"], deleted["detail"]["after"]) == ("team", None)
