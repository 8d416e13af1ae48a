from __future__ import annotations

import asyncio

import pytest

from app.upstream.control import UnansweredError
from app.upstream.shared_answers import FRESH, SharedAnswers
from tests.clock import FakeClock, settle
from tests.unit.upstream.fleets import spec

GPU = spec("gpu-a")


class Engine:
    """Answers each question with its number, once a test lets it."""

    def __init__(self):
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def ask(self, spec, path, timeout, *, body=None):
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.broken:
            raise UnansweredError("connect")
        return 200, b"%d" % number

    async def aclose(self):
        pass


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def shared(engine, clock):
    heard = []
    shared = SharedAnswers(engine, clock, lambda url, path, by: heard.append((url, path, set(by))))
    shared.heard = heard
    yield shared
    await shared.aclose()


async def test_who_asks_at_the_same_time_shares_one_visit(shared, engine):
    engine.open.clear()
    asking = [asyncio.create_task(shared.ask(asker, GPU, "/health", 5)) for asker in "ab"]
    await settle()
    engine.open.set()
    assert await asyncio.gather(*asking) == [(200, b"1")] * 2
    assert shared.heard == [(GPU.url, "/health", {"a", "b"})]


async def test_an_answer_does_for_others_while_it_is_fresh(shared, engine, clock):
    assert await shared.ask("a", GPU, "/health", 5) == (200, b"1")
    clock.advance(FRESH - 0.01)
    assert await shared.ask("b", GPU, "/health", 5) == (200, b"1")
    clock.advance(0.01)
    assert await shared.ask("c", GPU, "/health", 5) == (200, b"2")


async def test_nobody_gets_the_same_answer_twice(shared):
    assert await shared.ask("a", GPU, "/health", 5) == (200, b"1")
    assert await shared.ask("a", GPU, "/health", 5) == (200, b"2")
    assert await shared.ask("b", GPU, "/health", 5) == (200, b"2")
    assert [by for _, _, by in shared.heard] == [{"a"}, {"a"}]


async def test_other_paths_and_other_specs_are_other_questions(shared, engine):
    await shared.ask("a", GPU, "/health", 5)
    await shared.ask("b", GPU, "/metrics", 5)
    await shared.ask("b", spec("gpu-a", api_key="new"), "/health", 5)
    assert engine.asked == 3


async def test_a_completion_is_shared_only_while_it_runs(shared, engine):
    engine.open.clear()
    asking = [asyncio.create_task(shared.ask(who, GPU, "/v1/completions", 5, b"{}")) for who in "ab"]
    await settle()
    engine.open.set()
    assert await asyncio.gather(*asking) == [(200, b"1")] * 2
    assert await shared.ask("c", GPU, "/v1/completions", 5, b"{}") == (200, b"2")
    assert shared.heard == []


async def test_that_there_is_no_answer_is_shared_too(shared, engine):
    engine.broken = True
    for asker in "ab":
        with pytest.raises(UnansweredError, match="connect"):
            await shared.ask(asker, GPU, "/health", 5)
    assert engine.asked == 1


async def test_whoever_gives_up_does_not_take_the_answer_from_others(shared, engine):
    engine.open.clear()
    first, second = (asyncio.create_task(shared.ask(who, GPU, "/health", 5)) for who in "ab")
    await settle()
    first.cancel()
    await settle()
    engine.open.set()
    assert await second == (200, b"1")
