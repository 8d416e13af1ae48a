from __future__ import annotations

import pytest

from app.upstream.trial import Trial
from tests.clock import FakeClock
from tests.unit.upstream.engines import Engine, Engines
from tests.unit.upstream.fleets import make_fleet, spec


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def trial(engine: Engine) -> Trial:
    clock = FakeClock()
    endpoint = make_fleet(spec("a", models={"public": "served"}), clock=clock).endpoints["a"]
    return Trial(endpoint, Engines(a=engine).control(clock), 5.0)


async def test_it_asks_for_one_token_by_the_served_name(trial: Trial, engine: Engine):
    assert await trial.completes()
    assert engine.bodies == [b'{"model": "served", "prompt": "Hi", "max_tokens": 1, "temperature": 0}']


@pytest.mark.parametrize(
    ("answer", "verdict"), [("length", True), ("abort", False), (500, False), (503, None), (404, None)]
)
async def test_only_an_engine_that_fails_is_a_failure(trial: Trial, engine: Engine, answer, verdict):
    engine.completion = answer
    assert await trial.completes() is verdict


async def test_no_answer_is_a_failure(trial: Trial, engine: Engine):
    engine.broken.add("/v1/completions")
    assert await trial.completes() is False


@pytest.mark.parametrize(("said", "verdict"), [(True, True), (False, False), ("yes", False), (None, False)])
async def test_paused_is_what_says_so(trial: Trial, engine: Engine, said, verdict):
    engine.paused = said
    assert await trial.paused() is verdict


async def test_one_that_cannot_be_asked_is_not_known_to_be_paused(trial: Trial, engine: Engine):
    engine.broken.add("/is_paused")
    assert not await trial.paused()
