"""Why a call went where it went."""

from __future__ import annotations

import pytest

from app.core.errors import RateLimitExceeded
from app.core.tenant import Decision
from tests.unit.telemetry.trail import FAILED, a_call, an_end, attempts


async def test_a_call_is_explained_with_its_limits_and_attempts(desk, admin):
    call = a_call(attempts=attempts(FAILED, an_end()), decisions=[Decision("concurrency", True, 5, 3, 0.0)])
    desk.decisions.settled(call, an_end())
    told = (await admin.get("/requests/call-1")).json()
    assert (told["call_id"], told["endpoint"], told["status"]) == ("call-1", "gpu-a", 200)
    assert [(limit["rule"], limit["limit"], limit["used"]) for limit in told["limits"]] == [
        ("concurrency", 5, 2)
    ]
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["failure", "success"]
    assert "the prompt" not in str(told)


async def test_a_refused_call_is_explained_too(desk, admin):
    desk.decisions.rejected(a_call(), RateLimitExceeded())
    told = (await admin.get("/requests/call-1")).json()
    assert (told["outcome"], told["status"], told["error_code"]) == ("rejected", 429, "rate_limit_exceeded")


async def test_the_candidates_are_told_with_what_speaks_against_them(desk, admin):
    desk.fleet.drain("gpu-a")
    desk.decisions.settled(a_call(target="m"), an_end())
    told = (await admin.get("/requests/call-1")).json()
    assert [(row["endpoint"], row["excluded"]) for row in told["candidates_now"]] == [
        ("gpu-a", "drained"),
        ("gpu-b", None),
    ]
    assert (told["candidates_at"], told["candidates"]) == (None, [])


async def test_the_candidates_of_then_are_told_as_they_were(desk, admin):
    clock = desk.stores.clock
    call = a_call(target="m", candidates=(("gpu-a", 0, None), ("gpu-b", 0, None)), arrived=clock.monotonic())
    call.note(clock, "excluded", (("gpu-a", "open"),))
    call.note(clock, "waits")
    desk.decisions.settled(call, an_end())
    told = (await admin.get("/requests/call-1")).json()
    assert told["candidates_at"] == "dispatch"
    assert told["candidates"] == [
        {"endpoint": "gpu-a", "preference": 0, "excluded": "open"},
        {"endpoint": "gpu-b", "preference": 0, "excluded": None},
    ]
    assert told["events"] == [
        {"at_s": 0.0, "what": "excluded", "detail": {"gpu-a": "open"}},
        {"at_s": 0.0, "what": "waits", "detail": None},
    ]
    assert [row["excluded"] for row in told["candidates_now"]] == [None, None]


async def test_a_call_nobody_remembers_is_not_found(admin):
    assert (await admin.get("/requests/call-1")).status_code == 404


async def test_the_dry_run_tells_where_a_call_would_go(desk, admin):
    desk.fleet.drain("gpu-a")
    told = await rehearsed(admin, model="m", stream=True, prompt_tokens=2000, max_tokens=100)
    assert (told["would"], told["endpoint"], told["error"]) == ("dispatch", "gpu-b", None)
    assert (told["prompt_tokens"], told["completion_limit"], told["streams"]) == (2000, 100, True)
    assert told["routes"][0]["outbound"]["added"] == ["stream_options", "temperature"]
    assert told["limits_counted"] == "process"


async def test_the_dry_run_asks_for_a_tenant_or_a_key(desk, admin):
    tenant = (
        await admin.post("/tenants", json={"name": "acme", "limits": {"requests_per_minute": 0}})
    ).json()
    key = (await admin.post(f"/tenants/{tenant['id']}/keys", json={"models": ["n"]})).json()
    told = await rehearsed(admin, model="m", tenant_id=tenant["id"])
    assert (told["tenant_id"], told["key_id"], told["allowed"]) == (tenant["id"], None, True)
    assert (told["error"]["status"], told["limits"][0]["of"]) == (429, "tenant")
    told = await rehearsed(admin, model="m", key_id=key["id"])
    assert (told["tenant_id"], told["key_id"], told["allowed"]) == (tenant["id"], key["id"], False)
    assert told["error"]["code"] == "model_not_found"


async def test_the_dry_run_says_why_a_key_opens_nothing(desk, admin):
    tenant = (await admin.post("/tenants", json={"name": "acme"})).json()
    where = f"/tenants/{tenant['id']}/keys"
    disabled = (await admin.post(where)).json()["id"]
    await admin.patch(f"/keys/{disabled}", json={"disabled": True})
    expired = (await admin.post(where, json={"expires_at": desk.stores.clock.time() + 5})).json()["id"]
    desk.stores.clock.advance(10)
    for key, why in ((disabled, "disabled"), (expired, "expired")):
        told = await rehearsed(admin, model="m", key_id=key)
        assert (told["key_unusable"], told["error"]["status"]) == (why, 401)
    await admin.patch(f"/tenants/{tenant['id']}", json={"disabled": True})
    for who in ({"key_id": disabled}, {"tenant_id": tenant["id"]}):
        told = await rehearsed(admin, model="m", **who)
        assert (told["key_unusable"], told["would"]) == ("tenant_disabled", "refuse")


async def test_the_dry_run_takes_a_whole_body(admin):
    body = {"model": "m", "input": "to be embedded"}
    told = await rehearsed(admin, surface="/v1/embeddings", body=body)
    assert (told["surface"], told["prompt_tokens"] > 0) == ("embeddings", True)
    told = await rehearsed(admin, model="m", body={"messages": []})
    assert told["model"]["asked"] == "m"
    told = await rehearsed(admin, surface="/v1/responses", model="m", max_tokens=7)
    assert told["completion_limit"] == 7


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": "m", "tokens": 1}, 400, "tokens"),
        ({"model": "m", "prompt_tokens": -1}, 400, "prompt_tokens"),
        ({"model": "m", "surface": "/v1/images"}, 400, "surface"),
        ({"body": {"model": "m", "n": 99}}, 400, "n"),
        ({"body": {"model": "m"}, "max_tokens": 1}, 400, "max_tokens"),
        ({"body": {"model": "m"}, "stream": True}, 400, "stream"),
        ({"body": {"model": "m"}, "prompt_tokens": 1}, 400, "prompt_tokens"),
        ({"body": {"model": "m"}, "model": "n"}, 400, "model"),
        ({"model": "unknown"}, 404, "model"),
        ({"model": "m", "tenant_id": "tnt_nobody"}, 404, None),
        ({"model": "m", "key_id": "key_nobody"}, 404, None),
    ],
    ids=str,
)
async def test_questions_that_cannot_be_answered(admin, asked, status, param):
    answer = await admin.post("/explain", json=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_a_key_of_another_tenant_is_not_taken_for_its_own(admin):
    one, two = [(await admin.post("/tenants", json={"name": name})).json()["id"] for name in ("one", "two")]
    key = (await admin.post(f"/tenants/{one}/keys")).json()["id"]
    answer = await admin.post("/explain", json={"model": "m", "tenant_id": two, "key_id": key})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "key_id")


async def test_the_dry_run_changes_nothing_and_is_not_audited(desk, admin):
    before = desk.fleet.status()
    await rehearsed(admin, model="m")
    assert desk.fleet.status() == before
    assert await desk.audit() == []


async def rehearsed(admin, **asked) -> dict:
    answer = await admin.post("/explain", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()
