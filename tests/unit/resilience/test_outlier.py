"""Who does clearly worse than its peers, and who only looks like it."""

from __future__ import annotations

import random

import pytest

from app.resilience.conduct import Conduct
from app.resilience.ejection import EjectionOptions
from app.resilience.outlier import offence

OPTIONS = EjectionOptions()


def conduct(calls: int = 0, failures: int = 0, wait: float = 0.0, waits: int = 0) -> Conduct:
    made = Conduct(EjectionOptions(consecutive_failures=10_000), lambda offence: None)
    for number in range(calls):
        made.failed(1.0) if number < failures else made.succeeded()
    for _ in range(waits):
        made.waited(wait, 1.0)
    return made


GOOD = conduct(100)


@pytest.mark.parametrize(
    ("own", "peers", "expected"),
    [
        (conduct(100, 15), [GOOD], "failing"),
        (conduct(100, 9), [GOOD], None),  # significant, but not much
        (conduct(10, 3), [GOOD], "failing"),
        (conduct(10, 1), [GOOD], None),  # one of ten may be chance
        (conduct(9, 9), [GOOD], None),  # too few calls
        (conduct(100, 40), [conduct(9)], None),  # too few to compare with
        (conduct(100, 40), [conduct(100, 40)], None),  # all fail alike: the cause is elsewhere
        (conduct(100, 40), [conduct(5), conduct(5)], "failing"),  # peers count together
        (conduct(100, 0), [conduct(100, 50)], None),
    ],
)
def test_a_failure_rate_clearly_above_the_peers_is_an_offence(own, peers, expected):
    assert offence(own, peers, OPTIONS) == expected


@pytest.mark.parametrize(
    ("wait", "waits", "peers", "expected"),
    [
        (3.1, 10, [1.0], "slow"),
        (3.0, 10, [1.0], None),
        (0.9, 10, [0.01], None),  # nobody minds
        (1.1, 10, [0.01], "slow"),
        (9.0, 9, [1.0], None),
        (9.0, 10, [1.0, 4.0, 5.0], None),  # the median of the peers counts
        (9.0, 10, [1.0, 1.0, 50.0], "slow"),
        (9.0, 10, [], None),
    ],
)
def test_first_events_much_later_than_the_peers_are_an_offence(wait, waits, peers, expected):
    others = [conduct(wait=each, waits=10) for each in peers]
    assert (
        offence(conduct(wait=wait, waits=waits), [*others, conduct(wait=1e9, waits=9)], OPTIONS) == expected
    )


def test_one_slow_call_among_many_is_none():
    own = conduct(wait=1.0, waits=10)
    for _ in range(4):
        own.waited(600.0, 1.0)
    assert offence(own, [conduct(wait=1.0, waits=10)], OPTIONS) is None


def test_chance_alone_sets_next_to_nobody_aside():
    """Four equal endpoints, five percent of failures, a thousand comparisons."""
    dice = random.Random(7)
    wrong = 0
    for _ in range(1000):
        four = [conduct(50, sum(dice.random() < 0.05 for _ in range(50))) for _ in range(4)]
        wrong += offence(four[0], four[1:], OPTIONS) is not None
    assert wrong <= 10
