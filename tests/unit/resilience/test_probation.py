"""A few calls on trial."""

import pytest

from app.resilience.probation import Probation


def tried(passed: int, failed: int, calls: int = 5, threshold: float = 50) -> Probation:
    probation = Probation(calls, threshold)
    for _ in range(passed):
        probation.give()
        probation.succeed()
    for _ in range(failed):
        probation.give()
        probation.fail(connect=False, passed=False)
    return probation


def test_lets_exactly_its_calls_through():
    probation = Probation(2, 50)
    probation.give()
    assert probation.ready
    probation.give()
    assert not probation.ready


def test_a_decided_probe_gives_no_room_for_another():
    assert not tried(passed=2, failed=3).ready


def test_a_probe_given_back_gives_room_again():
    probation = Probation(1, 50)
    probation.give()
    probation.take_back()
    assert probation.ready
    assert probation.verdict is None


@pytest.mark.parametrize(
    ("passed", "failed", "verdict"),
    [(0, 0, None), (2, 2, None), (3, 0, "passed"), (3, 2, "passed"), (0, 3, "failed"), (2, 3, "failed")],
)
def test_decides_once_the_rest_cannot_change_it(passed, failed, verdict):
    assert tried(passed, failed).verdict == verdict


def test_the_threshold_itself_fails():
    assert tried(passed=1, failed=1, calls=2).verdict == "failed"


def test_one_probe_decides_alone():
    assert tried(passed=1, failed=0, calls=1).verdict == "passed"
    assert tried(passed=0, failed=1, calls=1).verdict == "failed"


def test_a_probe_that_passed_may_still_fail_and_counts_once():
    probation = tried(passed=2, failed=2)
    probation.fail(connect=False, passed=True)
    assert probation.verdict == "failed"
    assert repr(probation) == "<Probation given=4/5 passed=1 failed=3>"


def test_knows_whether_the_endpoint_could_not_be_reached_at_all():
    probation = Probation(5, 50)
    probation.fail(connect=True, passed=False)
    assert probation.unreachable
    probation.fail(connect=False, passed=False)
    assert not probation.unreachable
