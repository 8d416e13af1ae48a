"""Usage over REST."""

from __future__ import annotations

import csv
import io
import json

import pytest

from app.store.reports import SHOWN
from tests.stores import usage_row

T = 1_795_000_000.0
CONTRACT = (
    "call_id, client_request_id, tenant_id, key_id, model, served_model, endpoint, surface, state, usage_source,"
    " prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, wasted_tokens, cost, finish, status,"
    " error_code, started_at, ttft_s, elapsed_s, attempts"
)


@pytest.fixture
async def ledger(desk):
    await desk.stores.rows.write(
        [
            usage_row("call-a"),
            usage_row("call-b", tenant_id="tnt_2", key_id="key_2", model="n", started_at=T + 10),
            usage_row("call-c", state="open", finish=None, started_at=T + 20),
            usage_row(
                "call-d", surface="embeddings", endpoint="gpu-b", started_at=T + 30, served_model='=1+1,"x"\n'
            ),
        ]
    )


def test_a_row_shows_what_was_agreed():
    assert set(SHOWN) == set(CONTRACT.split(", "))


async def test_without_groups_there_is_one_sum(admin, ledger):
    listed = (await admin.get("/usage")).json()
    assert (listed["object"], listed["has_more"], listed["next_cursor"]) == ("list", False, None)
    (row,) = listed["data"]
    assert row == row | {
        "requests": 3, "errors": 0, "prompt_tokens": 30, "completion_tokens": 60, "cached_tokens": 12,
        "reasoning_tokens": 6, "total_tokens": 90, "cost": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize("group", ["tenant,model", "tenant, model,", ["tenant", "model"]])
async def test_sums_by_group(admin, ledger, group):
    rows = (await admin.get("/usage", params={"group_by": group})).json()["data"]
    assert [(row["tenant_id"], row["model"], row["requests"]) for row in rows] == [
        ("tnt_1", "m", 2),
        ("tnt_2", "n", 1),
    ]


@pytest.mark.parametrize(
    ("filters", "calls"),
    [
        ({}, ["call-d", "call-c", "call-b", "call-a"]),
        ({"tenant_id": "tnt_2"}, ["call-b"]),
        ({"key_id": "key_2"}, ["call-b"]),
        ({"model": "n"}, ["call-b"]),
        ({"endpoint": "gpu-b"}, ["call-d"]),
        ({"surface": "embeddings"}, ["call-d"]),
        ({"state": "open"}, ["call-c"]),
        ({"start": T + 10, "end": T + 30}, ["call-c", "call-b"]),
        ({"start": "2026-11-18T11:06:51Z"}, ["call-d", "call-c"]),
        ({"tenant_id": "' OR 1=1 --"}, []),
        ({"tenant_id": "tnt%"}, []),
    ],
)  # fmt: skip
async def test_filters_narrow_rows_sums_and_files(admin, ledger, filters, calls):
    rows = (await admin.get("/usage/requests", params=filters)).json()["data"]
    assert [row["call_id"] for row in rows] == calls
    sums = (await admin.get("/usage", params=filters)).json()["data"]
    assert sums[0]["requests"] == len([call for call in calls if call != "call-c"])
    lines = (await admin.get("/usage/export", params=filters)).text.splitlines()
    assert [json.loads(line)["call_id"] for line in lines] == calls


async def test_rows_come_a_page_at_a_time(admin, ledger):
    first = (await admin.get("/usage/requests", params={"limit": 3})).json()
    last = (await admin.get("/usage/requests", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [row["call_id"] for row in first["data"] + last["data"]] == [
        "call-d",
        "call-c",
        "call-b",
        "call-a",
    ]
    assert (first["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)
    assert set(first["data"][0]) == set(SHOWN)


async def test_the_file_of_lines_holds_every_row(admin, ledger):
    answer = await admin.get("/usage/export?format=jsonl")
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.jsonl"'
    assert answer.headers["cache-control"] == "no-store"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert rows == (await admin.get("/usage/requests")).json()["data"]


async def test_the_table_holds_every_row_and_quotes_what_must_be(admin, ledger):
    answer = await admin.get("/usage/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(head) == SHOWN
    assert [row[0] for row in rows] == ["call-d", "call-c", "call-b", "call-a"]
    assert rows[0][head.index("served_model")] == '=1+1,"x"\n'
    assert rows[1][head.index("finish")] == ""


async def test_an_empty_ledger_is_an_empty_file(admin):
    assert (await admin.get("/usage/export?format=jsonl")).text == ""
    assert (await admin.get("/usage/export?format=csv")).text.splitlines() == [",".join(SHOWN)]
