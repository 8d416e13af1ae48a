"""The gateway itself over REST."""

from __future__ import annotations

from app.core.errors import InvalidRequest
from tests.unit.admin.desk import SECRETS


async def test_a_reload_tells_what_changed(desk, admin):
    desk.reloads.append(["routing.strategy"])
    answer = await admin.post("/reload")
    assert (answer.status_code, answer.json()) == (200, {"reloaded": True, "changed": ["routing.strategy"]})
    (row,) = await desk.audit()
    assert (row["action"], row["detail"]) == ("config.reload", {"changed": ["routing.strategy"]})


async def test_a_bad_file_is_refused_with_the_reason(desk, admin):
    desk.reloads.append(InvalidRequest("server.prot: unknown key", param="server.prot"))
    answer = await admin.post("/reload")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "server.prot")
    assert await desk.audit() == []


async def test_the_configuration_is_shown_to_all_who_may_read(desk):
    async with desk.client(SECRETS["viewer"]) as viewer:
        assert (await viewer.get("/config")).json() == {"admin_token": "**********", "server": {"port": 9000}}


async def test_the_audit_is_listed_newest_first_a_page_at_a_time(desk, admin):
    for name in "abc":
        await admin.post("/tenants", json={"name": name})
        desk.stores.clock.advance(1)
    first = (await admin.get("/audit", params={"limit": 2})).json()
    last = (await admin.get("/audit", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [row["detail"]["after"]["name"] for row in first["data"] + last["data"]] == ["c", "b", "a"]
    assert (first["has_more"], last["has_more"]) == (True, False)
    assert set(first["data"][0]) == {"id", "at", "actor", "action", "subject", "origin", "detail"}


async def test_the_audit_cannot_be_changed(admin):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await admin.request(method, "/audit")).status_code == 405
