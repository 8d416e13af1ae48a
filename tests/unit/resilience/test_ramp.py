from __future__ import annotations

import pytest

from app.resilience.ramp import Ramp
from tests.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def shares():
    return []


@pytest.fixture
def ramp(clock, shares):
    made = Ramp(clock, lambda: shares.append(made.share))
    return made


def test_all_of_it_is_there_until_it_begins(ramp, clock, shares):
    clock.advance(100)
    assert (ramp.share, shares) == (1.0, [])


def test_it_rises_from_a_tenth_to_the_whole_in_its_time(ramp, clock, shares):
    ramp.begin(9.0)
    assert ramp.share == 0.1
    clock.advance(4.0)
    assert ramp.share == 0.5
    assert repr(ramp) == "<Ramp 50%>"
    clock.advance(4.99)
    assert ramp.share == 0.9
    clock.advance(0.01)
    assert ramp.share == 1.0
    assert shares == [each / 10 for each in range(1, 11)]
    clock.advance(100)
    assert len(shares) == 10


def test_another_recovery_begins_it_anew(ramp, clock):
    ramp.begin(9.0)
    clock.advance(4.0)
    ramp.begin(9.0)
    assert ramp.share == 0.1
    clock.advance(8.99)
    assert ramp.share == 0.9
    clock.advance(0.01)
    assert ramp.share == 1.0


def test_without_time_there_is_no_ramp(ramp, shares):
    ramp.begin(0.0)
    assert (ramp.share, shares) == (1.0, [])


def test_it_may_be_ended_early(ramp, clock, shares):
    ramp.begin(9.0)
    ramp.end()
    ramp.end()
    clock.advance(100)
    assert shares == [0.1, 1.0]
