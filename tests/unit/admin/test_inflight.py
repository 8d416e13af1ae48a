"""Running calls over REST."""

from __future__ import annotations

import pytest

from tests.unit.admin.desk import SECRETS
from tests.unit.upstream.fleets import make_call


@pytest.fixture
async def operator(desk):
    async with desk.client(SECRETS["operator"]) as client:
        yield client


def opened(desk, call_id: str, started_at: float = 0.0) -> list[object]:
    call, stopped = make_call(), []
    call.id, call.started_at = call_id, started_at
    desk.inflight.opened(call, stopped.append)
    return stopped


async def test_the_table_shows_what_runs_oldest_first_a_page_at_a_time(desk, operator):
    for n, call_id in enumerate(["c", "b", "a"]):
        opened(desk, call_id, started_at=float(n // 2))
    first = (await operator.get("/inflight", params={"limit": 2})).json()
    assert [row["call_id"] for row in first["data"]] == ["b", "c"]
    assert {"tenant_id", "model", "endpoint", "elapsed_s"} <= set(first["data"][0])
    opened(desk, "aa", started_at=0.0)
    last = (await operator.get("/inflight", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [row["call_id"] for row in last["data"]] == ["a"]
    assert (first["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)


async def test_one_call_is_stopped_and_its_caller_is_told_not_to_come_again(desk, operator):
    mine, other = opened(desk, "call-1"), opened(desk, "call-2")
    answer = await operator.delete("/inflight/call-1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [(error.status, error.code, error.should_retry) for error in mine] == [(503, "stopped", False)]
    assert other == []
    (row,) = await desk.audit()
    assert (row["actor"], row["action"], row["subject"]) == ("operator-ann", "call.stop", "call-1")


async def test_a_call_that_is_not_under_way_cannot_be_stopped(desk, operator):
    answer = await operator.delete("/inflight/call-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert await desk.audit() == []
