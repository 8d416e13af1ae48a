"""A crowd against one limit, with faults: what is settled stays within the limit and the stated bound."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from app.simulator import Simulator
from tests.house import running, until

CROWD = 256
LONG = 10.0
"""Seconds."""

QUOTA = 12_000
FAULTS = (
    {"fault": "rst", "after_tokens": 3},
    {"fault": "cut", "after_tokens": 5},
    {"fault": "error", "after_tokens": 4},
    {"fault": "close"},
    {"fault": "plain_500"},
)
PATIENT = {
    "timeouts": {"connect": 10, "first_byte": 20, "idle": 20, "total": 60, "stream_total": 60},
    "breaker": {"sliding_window_size": 10_000, "minimum_calls": 10_000, "consecutive_failures": 10_000},
}
"""Endpoints stay in use whatever happens to them: the crowd is what is tested."""


class Watch:
    """What the limits let through: at each admission who is running, at each end what it took beyond."""

    def __init__(self, gateway) -> None:
        counters = gateway.house.storage.limiter._counters
        self.taken, self.settled = counters.take, counters.settle
        counters.take, counters.settle = self.take, self.settle
        self.running: dict[int, object] = {}
        self.last: list[object] = []
        self.excess: dict[int, int] = {}
        self.grants: list[object] = []
        self.refused = 0

    async def take(self, rules, tokens, windows):
        grant = await self.taken(rules, tokens, windows)
        if grant.allowed:
            self.grants.append(grant)
            self.running[id(grant)] = grant
            self.last = list(self.running.values())
        else:
            self.refused += 1
        return grant

    def settle(self, grant, tokens):
        assert self.running.pop(id(grant), None) is not None, "settled twice"
        self.excess[id(grant)] = max(0, tokens - grant.tokens)
        self.settled(grant, tokens)

    @property
    def bound(self) -> int:
        """What those that ran at the last admission took beyond their reservations."""
        return sum(self.excess[id(grant)] for grant in self.last)


async def one(gateway, dice) -> None:
    """A call that may be open-ended, may stream, and may be left by its caller at any moment."""
    fields = {"stream": dice.random() < 0.7}
    if dice.random() < 0.6:
        fields["max_tokens"] = dice.randint(1, 60)
    caller = await gateway.caller()
    caller.say(gateway.request(f"{dice.randint(1, 80)} tokens", **fields))
    patience = dice.choice([None, None, 0.0, 0.02, 0.1])
    try:
        async with asyncio.timeout(patience):
            if (await caller.answer()).status == 429:
                await asyncio.sleep(0.2)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        pass
    caller.hang_up()


async def crowd(gateway, seed: int, over) -> None:
    """Everybody asks again and again until it is over, or for LONG enough."""
    ends = time.monotonic() + LONG

    async def each(number: int) -> None:
        mine = random.Random(seed * 1000 + number)
        while not over() and time.monotonic() < ends:
            if mine.random() < 0.1:
                mine.choice(gateway.simulators).faults.add(**mine.choice(FAULTS))
            await one(gateway, mine)

    await asyncio.gather(*(each(number) for number in range(CROWD)))
    await until(lambda: not gateway.house.hearing.inflight.by_model())


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]
)
async def test_a_crowd_settles_no_more_than_the_quota_and_its_bound(seed, record_property):
    fleet = [Simulator(ttft=0.005, itl=0.002) for _ in range(2)]
    async with running(fleet, resilience=PATIENT) as gateway:
        await gateway.limit(tokens_per_day=QUOTA, requests_per_minute=100_000)
        watch = Watch(gateway)
        await crowd(gateway, seed, lambda: spent(gateway) >= 0.99 * QUOTA)
        rows = [row for row in await gateway.rows() if row.state == "settled"]
        settled = sum(row.prompt_tokens + row.completion_tokens for row in rows)
        assert spent(gateway) == settled > QUOTA / 2
        assert watch.refused
        assert not watch.running
        assert settled <= QUOTA + watch.bound
        record_property("overshoot", max(0, settled - QUOTA))
        print(f"quota {QUOTA}: settled {settled}, bound {watch.bound}, {len(watch.grants)} admitted, "
              f"{watch.refused} refused")  # fmt: skip


async def test_a_crowd_gets_no_more_requests_than_the_rate_allows():
    async with running([Simulator(ttft=0.005, itl=0.002)], resilience=PATIENT) as gateway:
        await gateway.limit(requests_per_minute=120, concurrency=50)
        watch = Watch(gateway)
        began = time.monotonic()
        await crowd(gateway, 3, lambda: watch.refused > 1000)
        elapsed = time.monotonic() - began
        assert watch.refused
        assert len(watch.grants) <= 120 * (1 + elapsed / 60)
        print(f"rate 120: {len(watch.grants)} admitted in {elapsed:.1f} s, {watch.refused} refused")


async def test_a_crowd_of_a_strict_tenant_never_passes_the_quota():
    async with running([Simulator(ttft=0.005, itl=0.002)]) as gateway:
        await gateway.house.storage.tenants.update(
            gateway.tenant_id, {"limits": {"tokens_per_day": 6000}, "strict": True}
        )

        async def ask(number: int) -> int:
            answer = await gateway.ask(f"{number % 70 + 1} tokens", max_tokens=60)
            return answer.status_code

        watch = Watch(gateway)
        statuses = await asyncio.gather(*(ask(number) for number in range(CROWD)))
        assert set(statuses) == {200, 429}
        rows = await gateway.rows()
        settled = sum(row.prompt_tokens + row.completion_tokens for row in rows)
        assert settled <= 6000 + watch.bound
        assert max(watch.excess.values()) < 20, "more than a wrong guess at a prompt"
        print(f"strict quota 6000: settled {settled} of {len(rows)} calls, bound {watch.bound}")


async def test_a_thousand_aborted_calls_leave_nothing_reserved():
    async with running([Simulator(ttft=0.01, itl=0.05)], resilience=PATIENT) as gateway:
        await gateway.limit(
            requests_per_minute=100_000, tokens_per_minute=10**8, concurrency=2000, tokens_per_day=10**9
        )

        async def aborted(number: int) -> None:
            caller = await gateway.caller()
            caller.say(gateway.request("forever", stream=number % 4 > 0, max_tokens=500))
            if number % 2:
                await caller.reader.readuntil(b"data:")
            elif number % 4 == 0:
                await until(gateway.house.hearing.inflight.by_model)
            caller.hang_up()

        for _ in range(20):
            await asyncio.gather(*(aborted(number) for number in range(50)))
        counters = gateway.house.storage.limiter._counters
        await until(lambda: not gateway.data.tasks)
        await until(lambda: not counters.reserved)
        rows = await gateway.rows()
        assert len(rows) >= 500
        billed = sum(row.prompt_tokens + row.completion_tokens for row in rows if row.state == "settled")
        assert spent(gateway) == billed


def spent(gateway) -> int:
    """What is booked of the only quota."""
    counters = gateway.house.storage.limiter._counters
    return sum(account.used for key, account in counters._accounts.items() if isinstance(key, tuple))
