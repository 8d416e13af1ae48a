"""The ledger's rows on real databases: writing, summing, paging, closing what a crash left."""

from __future__ import annotations

import asyncio
import os

import pytest

from app.core.errors import InvalidRequest
from app.store.orphans import DEAD_AFTER, gateway_id
from app.store.reports import UsageFilter
from app.store.spent import Spent, spent
from app.store.tables import usage
from app.store.usage import COLUMNS
from tests.stores import opened, usage_row

pytest_plugins = ("tests.postgres",)

T = 1_795_000_000.0


def test_a_row_has_the_columns_of_the_table():
    assert tuple(column.name for column in usage.columns) == COLUMNS


async def test_writing_a_row_twice_changes_nothing(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a"), usage_row("a")])
        await stores.rows.write([usage_row("a")])
        assert (await stores.reports.page()).rows == [usage_row("a")]


async def test_the_first_end_is_for_good(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a", state="open", finish=None, completion_tokens=0)])
        await stores.rows.write([usage_row("a", state="void", completion_tokens=0)])
        await stores.rows.write([usage_row("a", state="settled")])
        await stores.rows.write([usage_row("a", state="open")])
        assert (await stores.reports.call("a")).state == "void"


async def test_a_checkpoint_replaces_what_knew_of_less_in_whatever_order_they_arrive(store_url):
    def known(completion, attempts=0):
        return usage_row("a", state="open", finish=None, completion_tokens=completion, attempts=attempts)

    async with opened(store_url) as stores:
        for row, expected in (
            (known(0), (0, 0)),
            (known(30), (30, 0)),
            (known(20), (30, 0)),
            (known(5, attempts=1), (5, 1)),
            (known(40), (5, 1)),
        ):
            await stores.rows.write([row])
            kept = await stores.reports.call("a")
            assert (kept.completion_tokens, kept.attempts) == expected
        await stores.rows.write([usage_row("a", completion_tokens=2), known(90, attempts=2)])
        assert await stores.reports.call("a") == usage_row("a", completion_tokens=2)


async def test_a_crashed_call_is_an_estimate(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a", state="open", finish=None, gateway="dead:1:aa")])
        assert await stores.orphans("mine:1:aa").close() == 1
        crashed = usage_row("a", finish="crashed", usage_source="estimated", gateway="dead:1:aa")
        assert await stores.reports.call("a") == crashed


async def test_the_truth_replaces_the_guess_of_another_gateway(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a", finish="crashed", completion_tokens=0)])
        await stores.rows.write([usage_row("a", state="open", finish=None)])
        assert (await stores.reports.call("a")).finish == "crashed"
        await stores.rows.write([usage_row("a", finish="stop")])
        assert (await stores.reports.call("a")) == usage_row("a", finish="stop")
        assert await stores.reports.call("b") is None


async def test_sums_hold_no_open_rows_and_count_what_failed(store_url):
    async with opened(store_url) as stores:
        void = {"state": "void", "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0}
        void |= {"cached_tokens": 0, "reasoning_tokens": 0}
        await stores.rows.write(
            [
                usage_row("a"),
                usage_row("b", wasted_tokens=3, finish="hang_up", status=499, error_code="caller_gone"),
                usage_row("c", status=200, error_code="upstream_error", finish="cut"),
                usage_row("d", status=502, error_code="upstream_error", **void),
                usage_row("e", state="open"),
            ]
        )
        assert await stores.reports.summary() == [
            {
                "requests": 4,
                "errors": 2,
                "prompt_tokens": 30,
                "completion_tokens": 60,
                "cached_tokens": 12,
                "reasoning_tokens": 6,
                "wasted_tokens": 3,
                "total_tokens": 90,
                "cost": 1.5,
            }
        ]


async def test_an_empty_ledger_sums_to_nothing(store_url):
    async with opened(store_url) as stores:
        row = (await stores.reports.summary())[0]
        assert set(row.values()) == {0}
        assert await stores.reports.summary(group_by=["tenant"]) == []
        assert (await stores.reports.page()).rows == []


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("tenant", [("t1", 2), ("t2", 1)]),
        ("key", [("k1", 1), ("k2", 2)]),
        ("model", [("m1", 1), ("m2", 2)]),
        ("endpoint", [("e1", 1), ("e2", 2)]),
        ("surface", [("chat", 2), ("embeddings", 1)]),
        (
            "hour",
            [("2026-03-29T01:00+01:00", 1), ("2026-03-29T03:00+02:00", 1), ("2026-04-01T00:00+02:00", 1)],
        ),
        ("day", [("2026-03-29", 2), ("2026-04-01", 1)]),
        ("month", [("2026-03", 2), ("2026-04", 1)]),
    ],
)
async def test_sums_are_grouped(store_url, group, expected):
    hours = ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00", "2026-04-01T00:00+02:00"]
    async with opened(store_url) as stores:
        await stores.rows.write(
            [
                usage_row("a", tenant_id="t1", key_id="k1", model="m1", endpoint="e1", hour=hours[0]),
                usage_row("b", tenant_id="t1", key_id="k2", model="m2", endpoint="e2", hour=hours[1]),
                usage_row(
                    "c",
                    tenant_id="t2",
                    key_id="k2",
                    model="m2",
                    endpoint="e2",
                    hour=hours[2],
                    surface="embeddings",
                ),
            ]
        )
        rows = await stores.reports.summary(group_by=[group])
        name = {"tenant": "tenant_id", "key": "key_id"}.get(group, group)
        assert [(row[name], row["requests"]) for row in rows] == expected


async def test_several_groups_and_unknown_ones(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a"), usage_row("b", model="n")])
        rows = await stores.reports.summary(group_by=["day", "model", "day"])
        assert [(row["day"], row["model"]) for row in rows] == [("2026-11-18", "m"), ("2026-11-18", "n")]
        with pytest.raises(InvalidRequest) as refused:
            await stores.reports.summary(group_by=["day; DROP TABLE usage"])
        assert refused.value.param == "group_by"


async def test_filters_narrow_sums_and_rows(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row(f"c{n}", started_at=T + n, model=f"m{n % 2}") for n in range(6)])
        which = UsageFilter(model="m1", start=T + 1, end=T + 5)
        assert (await stores.reports.summary(which))[0]["requests"] == 2
        assert [row.call_id for row in (await stores.reports.page(which)).rows] == ["c3", "c1"]
        assert (await stores.reports.summary(UsageFilter(tenant_id="' OR 1=1 --")))[0]["requests"] == 0
        assert (await stores.reports.summary(UsageFilter(state="settled")))[0]["requests"] == 6


async def test_rows_come_newest_first_a_page_at_a_time_and_as_a_stream(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row(f"c{n:04}", started_at=T + n // 2) for n in range(2500)])
        first = await stores.reports.page(limit=3)
        second = await stores.reports.page(limit=3, cursor=first.next_cursor)
        seen = [row.call_id for row in first.rows + second.rows]
        assert seen == [f"c{n:04}" for n in range(2499, 2493, -1)]
        streamed = [row.call_id async for row in stores.reports.export()]
        assert streamed == [f"c{n:04}" for n in range(2499, -1, -1)]


async def test_old_rows_are_pruned_and_open_ones_stay(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write(
            [
                *(usage_row(f"c{n}", started_at=T + n) for n in range(6000)),
                usage_row("open", started_at=T, state="open"),
            ]
        )
        assert await stores.reports.prune(T + 5990) == 5990
        assert len([row async for row in stores.reports.export()]) == 11


async def test_what_of_a_quota_is_spent_comes_from_the_ledger(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write(
            [
                usage_row("a", started_at=T),
                usage_row("b", started_at=T - 100),
                usage_row("c", started_at=T - 1000),
                usage_row("d", started_at=T, state="open"),
            ]
        )
        assert await spent(stores.database, T, T - 100) == [Spent("tnt_1", "key_1", "m", 30, 60)]


async def test_calls_of_a_dead_gateway_are_closed_and_of_a_living_one_not(store_url):
    async with opened(store_url) as stores:
        mine, far = gateway_id(), "elsewhere:1:aa"
        host = mine.partition(":")[0]
        before = {
            "a": f"{host}:{os.getpid()}:older",
            "b": f"{host}:999999999:aa",
            "c": far,
            "d": mine,
            "e": "never seen:1:aa",
            "f": f"{host}:{os.getppid()}:aa",
        }
        await stores.orphans(far).seen()
        await stores.orphans(before["f"]).seen()
        keeper = stores.orphans(mine)
        await keeper.seen()
        await stores.rows.write([usage_row(k, state="open", gateway=g) for k, g in before.items()])
        assert await keeper.close() == 3
        states = {row.call_id: (row.state, row.finish) for row in (await stores.reports.page()).rows}
        assert {call for call, state in states.items() if state == ("settled", "crashed")} == {"a", "b", "e"}
        stores.clock.advance(DEAD_AFTER / 2)
        await stores.orphans(before["f"]).seen()
        stores.clock.advance(DEAD_AFTER / 2 + 1)
        assert await keeper.close() == 1
        assert (await stores.reports.call("c")).finish == "crashed"
        await keeper.gone()
        assert await keeper.close() == 0


async def test_two_gateways_that_clean_up_at_once_close_each_call_once(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row(str(n), state="open", gateway="dead:1:aa") for n in range(50)])
        closed = await asyncio.gather(stores.orphans("a:1:x").close(), stores.orphans("b:1:x").close())
        assert sum(closed) == 50


async def test_a_process_that_may_not_be_asked_lives(store_url, monkeypatch):
    def forbidden(process, number):
        raise PermissionError

    async with opened(store_url) as stores:
        mine = gateway_id()
        neighbour = f"{mine.partition(':')[0]}:{os.getpid() + 1}:aa"
        await stores.orphans(neighbour).seen()
        await stores.rows.write([usage_row("a", state="open", gateway=neighbour)])
        monkeypatch.setattr("app.store.orphans.os.kill", forbidden)
        assert await stores.orphans(mine).close() == 0
