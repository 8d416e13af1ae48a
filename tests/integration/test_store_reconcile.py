"""The ledger against the engines' counters, on real databases."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidRequest
from app.store.engines import EngineCounts
from app.store.reconcile import Balance, Reconciliation
from tests.stores import opened, usage_row

pytest_plugins = ("tests.postgres",)

Q = 900
T = 1_795_000_000.0 // Q * Q
"""The beginning of a quarter."""


async def looked(stores, *counts, endpoint="gpu-a", at=None, counters=None):
    """One scrape, written: prompt tokens by life, half as many completion tokens."""
    counters = counters or EngineCounts(stores.database, stores.clock)
    if at is not None:
        stores.clock.wall = at
    counters.heard(endpoint, [("engine=0", life, tokens, tokens // 2) for life, tokens in counts])
    await counters.keep()
    return counters


async def balance(stores, start=T, end=T + Q, **which) -> Balance:
    (found,) = await Reconciliation(stores.database).balances(start, end, **which)
    return found


async def test_equal_when_all_the_engine_made_is_booked(store_url):
    async with opened(store_url) as stores:
        await looked(stores, (T - 99, 1000), at=T + 1)
        await stores.rows.write([usage_row("a", started_at=T + 20, prompt_tokens=60, completion_tokens=30)])
        await looked(stores, (T - 99, 1060), at=T + 800)
        found = await balance(stores)
        assert (found.gaps, found.verdict, found.restarts) == ({"prompt": 0, "completion": 0}, "equal", 0)
        assert (found.engine_prompt_tokens, found.start, found.end) == (60, T + 1, T + Q)
        assert found.row()["prompt_gap"] == 0


async def test_others_that_use_the_engine_are_shown_and_tokens_from_nowhere_are_an_alarm(store_url):
    async with opened(store_url) as stores:
        await looked(stores, (T - 99, 0), at=T + 1)
        await looked(stores, (T - 99, 100), at=T + 800)
        await stores.rows.write([usage_row("a", started_at=T + 20, prompt_tokens=70, completion_tokens=35)])
        found = await balance(stores)
        assert (found.gaps, found.verdict) == ({"prompt": 30, "completion": 15}, "others")
        await stores.rows.write([usage_row("b", started_at=T + 30, prompt_tokens=50, completion_tokens=0)])
        found = await balance(stores)
        assert found.overbooked == {"prompt": 20, "completion": 0}
        assert found.verdict == "overbooked"


async def test_calls_under_way_at_the_last_look_are_the_tolerance(store_url):
    async with opened(store_url) as stores:
        await looked(stores, (T - 99, 0), at=T + 1)
        await looked(stores, (T - 99, 40), at=T + 800)
        await stores.rows.write(
            [
                usage_row("a", started_at=T + 20, elapsed_s=5.0, prompt_tokens=30, completion_tokens=10),
                usage_row("b", started_at=T + 790, elapsed_s=60.0, prompt_tokens=50, completion_tokens=40),
            ]
        )
        found = await balance(stores)
        assert (found.prompt_tolerance, found.completion_tolerance) == (50, 40)
        assert (found.gaps, found.verdict) == ({"prompt": -40, "completion": -30}, "equal")


async def test_a_restart_takes_nothing_away(store_url):
    async with opened(store_url) as stores:
        await looked(stores, (T - 99, 500), at=T + 1)
        await looked(stores, (T - 99, 600), at=T + 300)
        await looked(stores, (T + 400, 20), at=T + 450)
        await looked(stores, (T + 400, 70), at=T + 800)
        await stores.rows.write([usage_row("a", started_at=T + 20, prompt_tokens=170, completion_tokens=85)])
        found = await balance(stores)
        assert (found.gaps, found.verdict, found.restarts) == ({"prompt": 0, "completion": 0}, "equal", 1)


async def test_a_counter_that_does_not_tell_its_age_restarts_where_it_falls(store_url):
    async with opened(store_url) as stores:
        for at, tokens in ((1, 1000), (60, 1100), (120, 10), (180, 50)):
            await looked(stores, (None, tokens), at=T + at)
        found = await balance(stores)
        assert (found.engine_prompt_tokens, found.restarts) == (150, 1)


async def test_several_gateways_that_look_count_once(store_url):
    async with opened(store_url) as stores:
        one = await looked(stores, (T - 99, 100), at=T + 1)
        other = await looked(stores, (T - 99, 90), at=T + 2)
        await looked(stores, (T - 99, 300), at=T + 500, counters=other)
        await looked(stores, (T - 99, 290), at=T + 501, counters=one)
        assert (await balance(stores)).engine_prompt_tokens == 210
        for at, tokens, counters in ((600, 310, other), (601, 305, one), (602, 308, other)):
            await looked(stores, (None, tokens), at=T + at, counters=counters, endpoint="gpu-b")
        assert (await balance(stores, endpoint="gpu-b")).engine_prompt_tokens == 5


async def test_what_could_not_be_written_is_written_the_next_time(store_url):
    async with opened(store_url) as stores:
        counters = EngineCounts(stores.database, stores.clock)
        stores.clock.wall = T + 1
        counters.heard("gpu-a", [("engine=0", T - 99, 0, 0)])
        stores.clock.wall = T + Q + 1
        counters.heard("gpu-a", [("engine=0", T - 99, 44, 22)])
        await counters.keep()
        await counters.keep()
        spans = await Reconciliation(stores.database).balances(T, T + 2 * Q, step=Q)
        assert [span.engine_prompt_tokens for span in spans] == [0, 44]
        await counters.prune(T + Q)
        assert [b.verdict for b in await Reconciliation(stores.database).balances(T, T + Q)] == []


async def test_an_endpoint_nobody_looked_at_is_unknown_and_spans_have_bounds(store_url):
    async with opened(store_url) as stores:
        await stores.rows.write([usage_row("a", started_at=T + 20), usage_row("b", endpoint=None)])
        found = await balance(stores)
        assert (found.endpoint, found.verdict, found.gaps) == ("gpu-a", "unknown", {})
        reconciliation = Reconciliation(stores.database)
        await reconciliation.look(T + 2 * Q)
        assert [one.endpoint for one in reconciliation.latest] == ["gpu-a"]
        for start, end, step in ((T, T, None), (0, T, Q)):
            with pytest.raises(InvalidRequest):
                await reconciliation.balances(start, end, step=step)
