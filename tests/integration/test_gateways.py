"""Two gateways of several workers each: one set of limits and one ledger, whatever of them dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import contextmanager, nullcontext

import pytest
import pytest_asyncio

from tests.crowd import Crowd, connected
from tests.gateways import customer, one_at_each, page, site, until
from tests.money.audit import Audit
from tests.postgres import empty_database, postgres_server  # noqa: F401
from tests.supervised import operator, pids

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLERS = 24
"""At each gateway."""

AT_ONCE = 1.0
PROMPT_TOKENS = 16
"""More than any prompt of these tests has."""


def url_of(request, folder):
    if request.param[0] == "sqlite":
        return nullcontext(f"sqlite:///{folder}/sluice.db")
    return empty_database(request.getfixturevalue("postgres_server"))


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[("sqlite", 2), pytest.param(("postgresql", 4), marks=pytest.mark.long)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
async def shared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateways")
    with url_of(request, folder) as url:
        async with site(folder, url, number=2, workers=request.param[1]) as whole:
            yield whole


async def all_decide_together(shared):
    return await shared.told("sluice_shared_limits_up") == [1.0] * len(shared.gateways)


async def some_decide_alone(shared):
    return 0.0 in await shared.told("sluice_shared_limits_up")


async def test_a_rate_holds_over_all_workers_and_every_call_is_in_the_metrics(shared):
    limit = 300
    crowd = Crowd(shared.gateways, await customer(shared.gateways[0], requests_per_minute=limit))
    before = await shared.told("sluice_requests_total")
    async with crowd.asking(CALLERS):
        await crowd.more(accepted=limit, refused=300)
    print(
        f"\n{crowd.accepted} accepted of {limit} + {limit / 60 * crowd.elapsed:.1f}, {crowd.refused} refused"
    )
    assert limit <= crowd.accepted <= limit + limit / 60 * crowd.elapsed
    assert set(crowd.other) == {429}
    mine = [sum(n for (at, _), n in crowd.answered.items() if at == place) for place in range(2)]
    after = [was + more for was, more in zip(before, mine, strict=True)]

    async def counted():
        return await shared.told("sluice_requests_total") == after

    await until(counted)


async def test_a_quota_holds_over_all_workers_and_nothing_stays_reserved(shared):
    limit, most = 20_000, 50
    buyer = await customer(shared.gateways[1], tokens_per_day=limit)
    crowd = Crowd(shared.gateways, buyer, {"max_tokens": most}, tuple(f"{n} tokens" for n in range(1, 41)))
    async with crowd.asking(CALLERS):
        await crowd.more(refused=300)
    rows = await shared.settled(buyer.tenant)
    spent = sum(row.prompt_tokens + row.completion_tokens for row in rows)
    running = CALLERS * len(shared.gateways)
    print(f"\n{spent} tokens of {limit}; bound {limit + running * (PROMPT_TOKENS + most)}")
    assert {row.call_id for row in rows} == crowd.whole.keys()
    names = {row.gateway for row in rows}
    writers = {int(name.split(":")[1]) for name in names}
    workers = {pid for gateway in shared.gateways for pid in pids(gateway).values()}
    assert len(shared.gateways) < len(writers) == len(names)
    assert writers <= workers
    assert limit - running * (PROMPT_TOKENS + most) <= spent <= limit + running * (PROMPT_TOKENS + most)
    async with operator(shared.gateways[0]) as ops:
        raised = {"limits": {"tokens_per_day": 10 * limit}}
        await ops.patch(f"/admin/v1/tenants/{buyer.tenant}", json=raised)

    async def nothing_but_spent():
        left = []
        for gateway in shared.gateways:
            caller = await connected(gateway)
            caller.say(buyer.get("/v1/me"))
            (quota,) = json.loads((await caller.answer()).body)["limits"]
            left.append(quota["remaining"])
            caller.hang_up()
        return left == [10 * limit - spent] * len(left)

    await until(nothing_but_spent)


async def test_places_are_shared_by_all_workers(shared):
    places = 10
    buyer = await customer(shared.gateways[0], concurrency=places)
    crowd = Crowd(shared.gateways, buyer, contents=("30 tokens",))
    peaks = []

    async def states(*names):
        found = [(await page(gateway, "/status")).json() for gateway in shared.gateways]
        return [tuple(state[name] for name in names) for state in found]

    async def all_connected():
        return await states("connections") == [(CALLERS,)] * 2

    async with crowd.asking(CALLERS):
        await until(all_connected)
        enough = asyncio.create_task(crowd.more(accepted=100, refused=200))
        while not enough.done():
            peaks.append(sum(len(simulator.truth.active) for simulator in shared.simulators))
            await asyncio.sleep(0)
        await enough
    assert places / 2 <= max(peaks) <= places
    assert set(crowd.other) <= {429}

    async def idle():
        return await states("inflight", "connections", "ledger_pending") == [(0, 0, 0)] * 2

    await until(idle)
    again = Crowd(shared.gateways, buyer)  # half of the places at each gateway: all of them fit
    async with again.asking(places // 2):
        await again.more(accepted=100)
    assert again.other == []


async def test_changes_are_in_force_on_every_worker_within_a_second(shared):
    first, last = shared.gateways
    buyer = await customer(first)
    other = await customer(last)
    worst = {}
    async with one_at_each(shared) as callers, operator(first) as here, operator(last) as there:

        async def reached(name, wanted, going, who=buyer):
            """Every worker, asked over and over, answers so."""
            began = time.monotonic()
            answer = await going
            assert answer.is_success

            async def asked(caller):
                while True:
                    caller.say(who.request())
                    if (await caller.answer()).status == wanted:
                        return time.monotonic() - began

            worst[name] = max(await asyncio.gather(*map(asked, callers)))

        keys = f"/admin/v1/tenants/{buyer.tenant}/keys"
        tenant = f"/admin/v1/tenants/{buyer.tenant}"
        await reached("new key", 200, here.get(keys))
        await reached("limit set", 400, there.patch(tenant, json={"limits": {"tokens_per_day": 1}}))
        await reached("limit lifted", 200, here.patch(tenant, json={"limits": {"tokens_per_day": None}}))
        await reached("model taken away", 404, there.patch(tenant, json={"models": []}))
        await reached("tenant disabled", 401, here.patch(tenant, json={"disabled": True}))
        await reached("tenant enabled", 404, there.patch(tenant, json={"disabled": False}))
        await reached("other's key known", 200, here.get(keys), other)
        await reached("key revoked", 401, there.delete(f"/admin/v1/keys/{other.key}"), other)
    print("\n" + ", ".join(f"{name}: {seconds:.2f} s" for name, seconds in worst.items()))
    assert max(worst.values()) < AT_ONCE


@contextmanager
def killed(redis):
    redis.kill()
    yield
    redis.start()


@pytest.mark.parametrize("outage", ["killed", "frozen"])
async def test_while_redis_is_away_no_call_hangs_and_shares_keep_the_limit(shared, outage):
    limit = 400
    crowd = Crowd(shared.gateways, await customer(shared.gateways[0], requests_per_minute=limit))
    await until(lambda: all_decide_together(shared))
    async with crowd.asking(CALLERS):
        await crowd.more(accepted=100)
        before = crowd.accepted
        with killed(shared.redis) if outage == "killed" else shared.redis.frozen():
            await crowd.more(accepted=30)
            await until(lambda: some_decide_alone(shared))
            await crowd.more(refused=300)
            away = crowd.accepted, crowd.elapsed
        await until(lambda: all_decide_together(shared))
        await crowd.more(refused=300)
    print(
        f"\n{outage}: {before} accepted before, {away[0]} with the outage, {crowd.accepted} in all"
        f" of {limit} (+ {limit / 60 * crowd.elapsed:.0f}); slowest {crowd.slowest:.2f} s"
    )
    assert away[0] <= before + limit + limit / 60 * away[1]
    assert crowd.accepted <= (3 if outage == "killed" else 2) * limit + limit / 60 * crowd.elapsed
    assert set(crowd.other) == {429}
    assert crowd.slowest < 5


async def test_a_killed_worker_loses_no_row_and_the_journal_it_shared_is_emptied(shared):
    buyer = await customer(shared.gateways[0], tokens_per_day=10**9)
    crowd = Crowd(shared.gateways, buyer, contents=("30 tokens", "3 tokens"))
    seats = pids(shared.gateways[0])
    async with crowd.asking(CALLERS):
        await crowd.more(accepted=200)
    async with shared.held_up():
        async with crowd.asking(CALLERS):
            await crowd.more(accepted=300)
            os.kill(seats[1], signal.SIGKILL)
            await crowd.more(accepted=100)
        assert min(shared.journaled()) > 0

        async def told_truly():
            """The journal is one file, or one for each gateway."""
            return set(await shared.told("sluice_journal_backlog")) == set(shared.journaled())

        await until(told_truly)
    assert crowd.cut

    async def replaced():
        return len(pids(shared.gateways[0])) == shared.workers

    async def emptied():
        return await shared.told("sluice_journal_backlog") == [0.0, 0.0]

    await until(replaced)
    audit = Audit(crowd, await shared.settled(buyer.tenant), shared.truth)
    await until(emptied)
    print(f"\n{audit}")
    assert (audit.lost, audit.doubled) == (set(), set())
    assert audit.differences() == []
    assert crowd.other == []


async def test_over_postgresql_limits_and_changes_hold_at_once_for_all_workers(postgres_server, tmp_path):  # noqa: F811
    with empty_database(postgres_server) as url:
        async with site(tmp_path, url, number=2, workers=2) as small:
            await test_a_rate_holds_over_all_workers_and_every_call_is_in_the_metrics(small)
            await test_changes_are_in_force_on_every_worker_within_a_second(small)
