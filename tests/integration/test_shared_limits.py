"""Several gateways, one limit: never more than it while Redis answers, a stated bound while it does not."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from itertools import cycle, islice

import pytest

from app.state.rule import Window, Windows, rule
from tests.clock import FakeClock
from tests.redis_proxy import before
from tests.sharing import Seeds, gateways, machine, timed, until, windows

pytest_plugins = ("tests.redis_server",)

PLACES = rule("tnt", "tenant", "concurrency", 100)
DAY = rule("tnt", "tenant", "tokens_per_day", 10_000)
RATE = rule("tnt", "tenant", "requests_per_minute", 100)
DAY_LONG = rule("tnt", "tenant", "tokens_per_day", 10_000_000)
TOKENS = rule("tnt", "tenant", "tokens_per_minute", 6_000)


async def all_at_once(shared, rules, tokens, calls=1000):
    """Grants of as many takes, spread over the gateways, all at the same time."""
    taking = [one.take(rules, tokens, windows()) for one in islice(cycle(shared), calls)]
    return [(one, grant) for one, grant in zip(cycle(shared), await asyncio.gather(*taking), strict=False)]


def admitted(grants):
    return [(one, grant) for one, grant in grants if grant.allowed]


async def remaining(shared, rules):
    return [decision.remaining for decision in await shared.look(rules, windows())]


@pytest.mark.parametrize("number", [1, 4])
async def test_a_thousand_calls_at_once_get_exactly_the_limit(redis_url, number):
    async with gateways(redis_url, number) as shared:
        places = admitted(await all_at_once(shared, (PLACES,), 0))
        assert len(places) == 100
        quota = admitted(await all_at_once(shared, (DAY, TOKENS), 50))
        assert 120 <= len(quota) <= 121
        for one, grant in places:
            one.settle(grant, 0)
        for one, grant in quota:
            one.settle(grant, 80)
        left = await remaining(shared[0], (PLACES, DAY))
        await until_settled(shared)
        left = await remaining(shared[0], (PLACES, DAY))
        assert left == [100, 10_000 - 80 * len(quota)]


async def until_settled(shared):
    for one in shared:
        await one.look((PLACES,), windows())
    assert sum(one.reserved for one in shared) == 0


async def test_a_rate_is_one_rate_for_all_gateways(redis_url):
    async with gateways(redis_url, 4) as shared:
        (_, grants), took = await timed(asyncio.gather(asyncio.sleep(0), all_at_once(shared, (RATE,), 0)))
        assert 100 <= len(admitted(grants)) <= 100 + took * 100 / 60 + 1


async def test_no_key_lives_for_ever_and_all_have_one_prefix(redis_server):
    async with gateways(redis_server.url, 2) as shared:
        await all_at_once(shared, (PLACES, DAY, RATE, TOKENS), 10, calls=20)
        with redis_server.client() as client:
            keys = client.keys()
            assert len(keys) == 6
            assert all(key.startswith(b"sluice:{limits}:") for key in keys)
            assert all(0 < client.ttl(key) <= 2 * 86400 for key in keys)


async def test_a_gateway_that_closes_leaves_nothing_held(redis_url):
    async with gateways(redis_url) as (witness,):
        async with gateways(redis_url) as (leaving,):
            await leaving.take((PLACES, DAY), 500, windows())
            assert await remaining(witness, (PLACES, DAY)) == [99, 9_500]
        assert await remaining(witness, (PLACES, DAY)) == [100, 10_000]


async def test_what_a_killed_gateway_held_comes_back(redis_url):
    clock = FakeClock()
    async with gateways(redis_url, 2, clock=clock, own_time=True) as (killed, witness):
        await killed.take((PLACES, DAY), 500, windows())
        kept = await witness.take((PLACES, DAY), 100, windows())
        killed._courier._task.cancel()
        killed._courier.up = False
        killed._courier._timer.cancel()
        for _ in range(4):
            await clock.run(4.9)
            assert await remaining(witness, (PLACES, DAY)) == [98, 9_400]
        await clock.run(4.9)
        assert await remaining(witness, (PLACES, DAY)) == [99, 9_900]
        assert witness.status() == {"up": True, "gateways": 1}
        witness.settle(kept, 0)


async def test_a_gateway_thought_dead_says_again_what_it_holds(redis_url):
    clock = FakeClock()
    async with gateways(redis_url, 2, clock=clock, own_time=True) as (paused, witness):
        held = await paused.take((PLACES, DAY), 500, windows())
        paused._courier._timer.cancel()
        for _ in range(6):
            await clock.run(4.9)
            await witness.look((PLACES,), windows())
        assert await remaining(witness, (PLACES, DAY)) == [100, 10_000]
        await paused.look((PLACES,), windows())
        await paused.look((PLACES,), windows())
        assert await remaining(witness, (PLACES, DAY)) == [99, 9_500]
        paused.settle(held, 70)
        await until_settled([paused])
        assert await remaining(witness, (PLACES, DAY)) == [100, 9_930]


async def test_a_caller_who_leaves_while_redis_decides_takes_nothing(redis_server):
    async with before(redis_server.port) as proxy, gateways(proxy.url) as (shared,):
        proxy.delay = 0.02
        asking = [asyncio.create_task(shared.take((PLACES, DAY), 10, windows())) for _ in range(50)]
        for wait, task in zip(cycle([0, 0.001]), asking, strict=False):
            await asyncio.sleep(wait)
            task.cancel()
        done, _ = await asyncio.wait(asking)
        for task in done:
            if not task.cancelled():
                shared.settle(task.result(), 0)
        proxy.delay = 0
        await until_settled([shared])
        await until_settled([shared])
        assert await remaining(shared, (PLACES, DAY)) == [100, 10_000]


async def test_an_empty_redis_learns_what_is_held_and_what_the_ledger_knows(redis_server):
    seeds = Seeds()
    async with gateways(redis_server.url, 3, seeds=seeds) as shared:
        held = admitted(await all_at_once(shared, (PLACES, DAY), 20, calls=60))
        seeds.rows = [("tnt", "tokens_per_day", windows().day, 7_000)]
        asked = seeds.asked
        redis_server.flush()
        for one in shared * 2:
            await one.look((PLACES,), windows())
        await until(lambda: seeds.asked > asked)
        await asyncio.sleep(0.05)
        assert seeds.asked == asked + 1
        assert await remaining(shared[0], (PLACES, DAY)) == [40, 10_000 - 7_000 - 60 * 20]
        for one, grant in held:
            one.settle(grant, 20)
        await until_settled(shared)
        assert await remaining(shared[0], (PLACES, DAY)) == [100, 10_000 - 7_000 - 60 * 20]


async def test_what_the_ledger_says_is_booked_once_however_many_gateways_say_it(redis_url):
    seeds = Seeds()
    seeds.rows = [("tnt", "tokens_per_day", windows().day, 4_000)]
    async with gateways(redis_url, 4, seeds=seeds) as shared:
        assert seeds.asked == 4
        assert await remaining(shared[0], (DAY,)) == [6_000]


async def test_a_frozen_redis_holds_nobody_up(redis_server):
    async with gateways(redis_server.url, 2, patience=0.1) as shared:
        await all_at_once(shared, (PLACES, DAY), 10, calls=2)
        async with machine() as lag:
            with redis_server.frozen():
                first = await asyncio.gather(
                    *(timed(one.take((RATE, DAY), 10, windows())) for one in shared * 20)
                )
                assert max(took for _, took in first) < 0.15 + lag()
                assert not any(one.up for one in shared)
                later = [await timed(shared[0].take((RATE, DAY), 10, windows())) for _ in range(200)]
                assert sum(took for _, took in later) / len(later) < 0.005
                assert len([grant for grant, _ in first + later if grant.allowed]) <= 100 + 2
        await until(lambda: all(one.up for one in shared))


async def test_a_slow_redis_counts_as_gone(redis_server):
    async with before(redis_server.port) as proxy, gateways(proxy.url, patience=0.1) as (shared,):
        proxy.delay = 0.3
        async with machine() as lag:
            _, took = await timed(shared.take((PLACES,), 0, windows()))
            assert took < 0.15 + lag()
            assert not shared.up
            _, took = await timed(shared.take((PLACES,), 0, windows()))
            assert took < 0.005 + lag()
        proxy.delay = 0
        await until(lambda: shared.up)


async def test_a_redis_that_takes_over_with_an_older_memory_learns_what_is_held(redis_server):
    """As after a failover to a replica that had not heard the last of it."""
    async with gateways(redis_server.url) as (shared,):
        grants = [await shared.take((PLACES, DAY), 100, windows()) for _ in range(5)]
        with redis_server.client() as client:
            older = {key: client.dump(key) for key in client.scan_iter()}
            for grant in grants[:3]:
                shared.settle(grant, 10)
            await shared.take((PLACES, DAY), 7, windows())
            for key, value in older.items():
                client.restore(key, 600_000, value, replace=True)
            client.client_kill_filter(_type="normal")
        await shared.take((PLACES,), 0, windows())
        await until(lambda: shared.up)
        assert await remaining(shared, (PLACES,)) == [100 - 2 - 1 - 1]
        assert (await remaining(shared, (DAY,)))[0] >= 10_000 - 2 * 100 - 7 - 30
        for grant in grants[3:]:
            shared.settle(grant, 0)


async def test_a_password_opens_and_a_wrong_one_leaves_the_gateway_to_its_share(redis_server):
    with redis_server.client() as client:
        client.config_set("requirepass", "a secret")
    port = redis_server.port
    async with gateways(f"redis://:a%20secret@127.0.0.1:{port}/2") as (right,):
        assert right.up
    async with gateways(f"redis://:wrong@127.0.0.1:{port}/2") as (wrong,):
        assert not wrong.up
        assert (await wrong.take((PLACES,), 0, windows())).allowed


async def test_without_redis_every_gateway_gives_its_share_of_what_was_left(redis_server):
    async with gateways(redis_server.url, 4) as shared:
        grants = admitted(await all_at_once(shared, (PLACES, DAY), 60, calls=40))
        for one, grant in grants:
            one.settle(grant, 60)
        await until_settled(shared)
        for one in shared:
            await one.look((PLACES, DAY, TOKENS), windows())
        redis_server.kill()
        places = admitted(await all_at_once(shared, (PLACES,), 0))
        assert not any(one.up for one in shared)
        assert len(places) == 100
        quota = admitted(await all_at_once(shared, (DAY, TOKENS), 20))
        assert len(quota) == 4 * (6_000 // 4 // 20)
        assert [len({id(one) for one, _ in found}) for found in (places, quota)] == [4, 4]
        for one, grant in places + quota:
            one.settle(grant, grant.tokens)
        assert sum(one.reserved for one in shared) == 0


async def test_a_small_limit_lets_every_gateway_do_something(redis_server):
    async with gateways(redis_server.url, 4) as shared:
        for one in shared:
            await one.look((PLACES,), windows())
        redis_server.kill()
        few = rule("few", "tenant", "concurrency", 2)
        assert len(admitted(await all_at_once(shared, (few,), 0))) == 4
        none = rule("none", "tenant", "concurrency", 0)
        assert admitted(await all_at_once(shared, (none,), 0)) == []
        large = await shared[0].take((TOKENS,), 5_000, windows())
        assert (large.allowed, large.tokens, large.decisions[0].limit) == (True, 1_500, 6_000)
        shared[0].settle(large, 4_000)
        assert shared[0].reserved == 0 or not shared[0].up


async def test_what_was_given_without_redis_is_told_when_it_is_back(redis_server):
    async with before(redis_server.port) as proxy, gateways(proxy.url, 2, patience=0.1) as shared:
        before_it = await shared[0].take((PLACES, TOKENS), 300, windows())
        proxy.deaf = True
        ended = await shared[0].take((PLACES, TOKENS), 400, windows())
        assert not shared[0].up
        running = await shared[0].take((PLACES, TOKENS), 200, windows())
        shared[0].settle(ended, 500)
        shared[0].settle(before_it, 100)
        proxy.deaf = False
        await until(lambda: shared[0].up)
        await shared[0].look((PLACES,), windows())
        places, tokens = await remaining(shared[1], (PLACES, TOKENS))
        assert places == 99
        assert 6_000 - 800 <= tokens <= 6_000 - 800 + 200
        shared[0].settle(running, 50)
        await until_settled([shared[0]])
        places, tokens = await remaining(shared[1], (PLACES, TOKENS))
        assert places == 100
        assert 6_000 - 650 <= tokens <= 6_000 - 650 + 300


@pytest.mark.parametrize("answers_lost", [True, False])
async def test_what_is_settled_counts_once_whether_or_not_the_lost_batch_arrived(redis_server, answers_lost):
    async with before(redis_server.port) as proxy, gateways(proxy.url, patience=0.1) as (shared,):
        grants = [await shared.take((PLACES, DAY), 100, windows()) for _ in range(20)]
        proxy.mute, proxy.deaf = answers_lost, not answers_lost
        for grant in grants:
            shared.settle(grant, 30)
        unknown = await shared.take((PLACES, DAY), 100, windows())
        assert not shared.up
        shared.settle(unknown, 0)
        await asyncio.sleep(0.3)
        proxy.mute = proxy.deaf = False
        await until(lambda: shared.up)
        await proxy.deliver()
        await until_settled([shared])
        assert await remaining(shared, (PLACES, DAY)) == [100, 10_000 - 20 * 30]


async def test_a_gateway_starts_without_redis_and_joins_when_it_comes(redis_server):
    redis_server.kill()
    seeds = Seeds()
    seeds.rows = [("tnt", "tokens_per_day", windows().day, 9_000)]
    async with gateways(redis_server.url, seeds=seeds) as (shared,):
        assert not shared.up
        assert await remaining(shared, (DAY,)) == [1_000]
        held = await shared.take((PLACES, DAY), 100, windows())
        redis_server.start()
        await until(lambda: shared.up)
        await until(lambda: seeds.asked == 2)
        assert await remaining(shared, (PLACES, DAY)) == [99, 900]
        shared.settle(held, 100)


async def test_redis_that_comes_and_goes_gives_no_fresh_start_each_time(redis_server):
    async with before(redis_server.port) as proxy, gateways(proxy.url, patience=0.1) as (shared,):
        given = 0
        for _ in range(3):
            proxy.deaf = True
            given += len(admitted(await all_at_once([shared], (RATE,), 0, calls=150)))
            proxy.deaf = False
            await until(lambda: shared.up)
            given += len(admitted(await all_at_once([shared], (RATE,), 0, calls=150)))
        assert given <= 100 + 10
        assert shared.reserved == 0


async def test_what_was_given_in_one_absence_is_not_given_again_in_the_next(redis_server):
    async with before(redis_server.port) as proxy, gateways(proxy.url, patience=0.1) as (shared,):
        given = 0
        for _ in range(3):
            proxy.deaf = True
            await until(lambda: not shared.up)
            given += len(admitted(await all_at_once([shared], (RATE,), 0, calls=150)))
            proxy.deaf = False
            await until(lambda: shared.up)
        assert 100 <= given <= 100 + 15


async def test_quotas_used_without_redis_are_read_from_the_ledger_when_it_is_back(redis_server):
    seeds = Seeds()
    async with (
        before(redis_server.port) as proxy,
        gateways(proxy.url, patience=0.1, seeds=seeds) as (shared,),
    ):
        await shared.look((DAY,), windows())
        proxy.deaf = True
        await until(lambda: not shared.up)
        shared.settle(await shared.take((DAY,), 500, windows()), 600)
        seeds.rows = [("tnt", "tokens_per_day", windows().day, 600)]
        proxy.deaf = False
        await until(lambda: shared.up)
        await until(lambda: seeds.asked == 2)
        assert await remaining(shared, (DAY,)) == [9_400]


async def test_an_answer_that_makes_no_sense_holds_nobody_up(redis_server, monkeypatch):
    async with gateways(redis_server.url) as (shared,):
        link, sense = shared._courier._link, shared._courier._link.exchange

        async def nonsense(batch, patience):
            await sense(batch, patience)
            return 0, True, 1, False, []

        monkeypatch.setattr(link, "exchange", nonsense)
        async with asyncio.timeout(5):
            grant = await shared.take((PLACES, DAY), 10, windows())
        assert grant.allowed
        monkeypatch.setattr(link, "exchange", sense)
        await until(lambda: shared.up)
        shared.settle(grant, 10)
        await until_settled([shared])
        assert await remaining(shared, (PLACES,)) == [100]


async def test_a_clock_of_redis_that_jumps_freezes_nothing(redis_url):
    clock = FakeClock()
    async with gateways(redis_url, clock=clock, own_time=True) as (shared,):
        await all_at_once([shared], (RATE,), 0, calls=100)
        clock.now -= 3600
        assert not (await shared.take((RATE,), 0, windows())).allowed
        clock.now += 30
        assert len(admitted(await all_at_once([shared], (RATE,), 0, calls=100))) == 50


async def test_a_quota_belongs_to_its_period(redis_url):
    today = windows()
    tomorrow = Windows(Window(today.day.end, today.day.end + 86400), today.month)
    async with gateways(redis_url) as (shared,):
        late = await shared.take((DAY,), 9_000, today)
        assert (await shared.take((DAY,), 9_000, tomorrow)).allowed
        shared.settle(late, 9_500)
        assert [d.remaining for d in await shared.look((DAY,), today)] == [500]
        assert [d.remaining for d in await shared.look((DAY,), tomorrow)] == [1_000]


@pytest.mark.parametrize("seed", range(3))
async def test_no_order_of_faults_leaks_or_loses(redis_server, seed):
    """Ways that go deaf, mute and slow, an emptied Redis, callers who leave: all is given back and counted."""
    chance = random.Random(seed)
    ledger, rules, day = Seeds(), (PLACES, DAY_LONG), windows().day
    ledger.rows = [("tnt", "tokens_per_day", day, 0)]
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(before(redis_server.port)) for _ in range(2)]
        shared = [
            (await stack.enter_async_context(gateways(proxy.url, seeds=ledger, patience=0.1)))[0]
            for proxy in proxies
        ]

        async def call(one):
            grant = await one.take(rules, 100, windows())
            if not grant.allowed:
                return
            try:
                await asyncio.sleep(chance.random() * 0.05)
            finally:
                one.settle(grant, 70)
                ledger.rows = [(*ledger.rows[0][:3], ledger.rows[0][3] + 70)]

        running = []
        for _ in range(60):
            calls = [asyncio.create_task(call(chance.choice(shared))) for _ in range(20)]
            running += calls
            proxy = chance.choice(proxies)
            setattr(proxy, chance.choice(["deaf", "mute"]), chance.random() < 0.3)
            proxy.delay = chance.choice([0, 0, 0, 0.01, 0.2])
            if chance.random() < 0.05:
                redis_server.flush()
            await asyncio.sleep(chance.random() * 0.1)
            for task in calls[:3]:
                task.cancel()
        for proxy in proxies:
            proxy.deaf = proxy.mute = False
            proxy.delay = 0.0
        await asyncio.gather(*running, return_exceptions=True)
        await until(lambda: all(one.up for one in shared))
        for proxy in proxies:
            await proxy.deliver()
        for one in shared * 2:
            await one._reseed()
            await one.look((PLACES,), windows())
        assert [one.reserved for one in shared] == [0, 0]
        spent = ledger.rows[0][3]
        places, left = await remaining(shared[0], rules)
        assert places == 100
        assert DAY_LONG.limit - spent - 40 * 70 <= left <= DAY_LONG.limit - spent
