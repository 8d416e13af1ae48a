"""Why a call went where it went."""

from __future__ import annotations

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
    assert [(row["endpoint"], row["excluded"]) for row in told["candidates"]] == [
        ("gpu-a", "drained"),
        ("gpu-b", None),
    ]


async def test_a_call_nobody_remembers_is_not_found(admin):
    assert (await admin.get("/requests/call-1")).status_code == 404


async def test_the_dry_run_is_not_there(admin):
    answer = await admin.post("/explain", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_implemented")
