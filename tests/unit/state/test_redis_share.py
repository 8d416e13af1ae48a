"""Without Redis: a share of what was left when it was last seen."""

from __future__ import annotations

import pytest

from app.state.redis_known import Known
from app.state.redis_rules import Preparations, quota
from app.state.redis_share import Share
from app.state.rule import Window, Windows, rule
from tests.clock import FakeClock

WALL = 1_795_000_000.0
WINDOWS = Windows(Window(WALL - 100, WALL + 900), Window(WALL - 1000, WALL + 9000))
RATE = rule("k", "key", "requests_per_minute", 120)
TOKENS = rule("k", "key", "tokens_per_minute", 600)
PLACES = rule("k", "key", "concurrency", 8)
DAY = rule("t", "tenant", "tokens_per_day", 4_000)


class Bench:
    def __init__(self, gateways: int = 4) -> None:
        self.clock = FakeClock(wall=WALL)
        self.known = Known(self.clock)
        self.holding: dict[str, int] = {}
        self.share = Share(gateways, self.known, self.holding, self.clock)
        self.preparations = Preparations()

    def saw(self, taken, *rules):
        self.known.saw(self.preparations.of(rules, WINDOWS), taken)

    async def take(self, tokens, *rules):
        return await self.share.take(self.preparations.of(rules, WINDOWS), tokens)

    async def count(self, *rules, tokens=0):
        number = 0
        while (await self.take(tokens, *rules)).allowed:
            number += 1
        return number


@pytest.fixture
def bench():
    return Bench()


async def test_what_was_never_seen_is_given_in_equal_shares(bench):
    assert await bench.count(RATE) == 30
    bench.clock.advance(2)
    assert await bench.count(RATE) == 1
    assert await bench.count(PLACES) == 2


async def test_what_was_seen_used_is_not_given_again(bench):
    bench.saw([80], RATE)
    bench.saw([3_000], DAY)
    bench.clock.advance(20)
    assert await bench.count(RATE) == 30 - 10
    assert await bench.count(DAY, tokens=10) == 25


async def test_places_taken_before_count_until_they_end(bench):
    bench.holding["k:concurrency"] = 2
    assert await bench.count(PLACES) == 0
    bench.holding["k:concurrency"] = 1
    assert await bench.count(PLACES) == 1


async def test_a_limit_of_nothing_gives_nothing_and_a_small_one_gives_one(bench):
    assert await bench.count(rule("a", "key", "concurrency", 3)) == 1
    assert await bench.count(rule("b", "key", "concurrency", 0)) == 0


async def test_a_call_larger_than_the_share_takes_all_of_it_and_may_leave_a_debt(bench):
    grant = await bench.take(500, TOKENS)
    assert (grant.allowed, grant.tokens, bench.share.reserved) == (True, 150, 150)
    assert (grant.decisions[0].limit, grant.decisions[0].remaining) == (600, 0)
    bench.share.settle(grant, 400)
    refused = await bench.take(1, TOKENS)
    assert not refused.allowed
    assert refused.decisions[0].limit == 600
    assert [d.limit for d in await bench.share.look(bench.preparations.of((TOKENS,), WINDOWS))] == [600]


async def test_what_was_used_here_is_told_without_what_had_been_seen(bench):
    bench.saw([60, 200], RATE, TOKENS)
    grant = await bench.take(50, RATE, TOKENS)
    running = await bench.take(30, RATE, TOKENS)
    bench.share.settle(grant, 90)
    told = {slot.name: (used, held) for slot, used, held in bench.share.used()}
    assert told == {"k:requests_per_minute": (2, 0), "k:tokens_per_minute": (90, 30)}
    bench.clock.advance(10)
    told = {slot.name: used for slot, used, _ in bench.share.used()}
    assert told == {
        "k:requests_per_minute": pytest.approx(2),
        "k:tokens_per_minute": pytest.approx(90),
    }
    bench.clock.advance(14)
    told = {slot.name: used for slot, used, _ in bench.share.used()}
    assert told["k:tokens_per_minute"] == pytest.approx(50 + 90 - 60)
    assert told["k:requests_per_minute"] == pytest.approx(2)
    bench.share.settle(running, 0)


def test_what_is_known_drains_grows_and_is_never_less_than_the_ledger_says():
    clock = FakeClock(wall=WALL)
    known = Known(clock)
    preparations = Preparations()
    known.saw(preparations.of((RATE, DAY), WINDOWS), [100, 50])
    clock.advance(10)
    assert known.taken("k:requests_per_minute") == 80
    seen, new = preparations.of((RATE, TOKENS), WINDOWS).slots
    known.add(seen, 5)
    known.add(new, 50)
    assert [known.taken(seen.name), known.taken(new.name), known.taken("nobody")] == [85, 50, 0]
    clock.advance(1)
    assert [known.taken(seen.name), known.taken(new.name)] == [83, 40]
    day = quota("t", "tokens_per_day", WINDOWS.day)
    known.at_least(day, 40, WINDOWS.day.end)
    assert known.taken(day) == 50
    known.at_least(day, 70, WINDOWS.day.end)
    assert known.taken(day) == 70


def test_what_has_drained_or_is_over_is_forgotten():
    clock = FakeClock(wall=WALL)
    known = Known(clock)
    preparations = Preparations()
    for number in range(25_000):
        rules = [
            rule(f"{number}", "key", "requests_per_minute", 60),
            rule(f"{number}", "t", "tokens_per_day", 9),
        ]
        known.saw(preparations.of(rules, WINDOWS), [1, 5])
    assert len(known) == 50_000
    clock.advance(10)
    known.saw(preparations.of([RATE], WINDOWS), [1])
    assert len(known) == 25_001
    clock.advance(1000)
    known._sweep()
    assert len(known) == 0
