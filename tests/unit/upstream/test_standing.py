from __future__ import annotations

import pytest

from app.upstream.busy import Busy
from app.upstream.standing import Standing
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def standing(clock: FakeClock) -> Standing:
    return Standing(clock, Busy(clock, jitter=lambda: 0.0))


def test_an_endpoint_never_probed_counts_as_up(standing: Standing):
    assert standing.health == "unknown"
    assert standing.against() is None


def test_a_down_endpoint_is_out(standing: Standing):
    assert standing.hears("down")
    assert standing.against() == "down"
    assert not standing.hears("down")
    assert standing.hears("up")
    assert standing.against() is None


def test_a_drain_lasts_until_it_is_over(standing: Standing, clock: FakeClock):
    standing.drain(10, "kernel")
    assert standing.against() == "drained"
    assert standing.back_in == 10
    clock.advance(10)
    assert standing.against() is None
    assert standing.back_in == 0


def test_a_drain_without_end_lasts_until_resume(standing: Standing, clock: FakeClock):
    standing.drain(None, "kernel")
    clock.advance(1e6)
    assert standing.against() == "drained"
    assert standing.back_in == 0
    standing.resume()
    assert standing.against() is None
    assert standing.drain_reason == ""


def test_a_draining_engine_is_not_believed_for_its_health_alone(standing: Standing):
    standing.hears("up")
    assert standing.engine_drains()
    assert not standing.engine_drains()
    standing.hears("up")
    assert standing.against() == "draining"


def test_a_draining_engine_is_back_once_it_was_down_and_is_up(standing: Standing):
    standing.engine_drains()
    standing.hears("down")
    assert standing.against() == "down"
    assert standing.hears("up")
    assert standing.against() is None


def test_an_engine_that_drains_while_thought_down_needs_no_second_fall(standing: Standing):
    standing.hears("down")
    standing.engine_drains()
    standing.hears("up")
    assert standing.against() is None


def test_being_down_before_it_drained_proves_nothing(standing: Standing):
    standing.hears("down")
    standing.hears("up")
    standing.engine_drains()
    standing.hears("up")
    assert standing.against() == "draining"


def test_a_completion_proves_that_an_engine_serves(standing: Standing):
    assert not standing.engine_serves()
    standing.engine_drains()
    assert standing.engine_serves()
    assert standing.against() is None


def test_a_busy_endpoint_is_out_for_a_while(standing: Standing, clock: FakeClock):
    standing.busy.mark(5)
    assert standing.against() == "busy"
    assert standing.back_in == 5
    clock.advance(5)
    assert standing.against() is None


def test_an_endpoint_that_leaves_never_comes_back(standing: Standing):
    standing.leaving = True
    standing.hears("up")
    assert standing.against() == "leaving"


def test_a_drain_is_handed_on(standing: Standing, clock: FakeClock):
    standing.drain(None, "kernel")
    other = Standing(clock, Busy(clock))
    other.keep_drain(standing)
    assert other.against() == "drained"
    assert other.drain_reason == "kernel"
