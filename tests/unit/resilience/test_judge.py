"""When a closed breaker has seen enough."""

import pytest

from app.resilience.judge import Judge
from app.resilience.window import SlidingWindow


@pytest.fixture
def judge() -> Judge:
    return Judge(SlidingWindow(20, 60), minimum=5, threshold=50, row_limit=3)


def hear(judge, story: str, now: float = 0.0):
    """s: success, f: 5xx, c: connect, t: connect timeout, b: no first byte, d: closed early; the last word."""
    reasons = {"f": "5xx", "c": "connect", "t": "connect_timeout", "b": "first_byte", "d": "closed"}
    said = None
    for letter in story:
        said = judge.answered(now) and None if letter == "s" else judge.failed(now, reasons[letter], None)
    return said


def test_nothing_is_enough_before_the_minimum_of_calls(judge):
    assert hear(judge, "ffff") is None


def test_five_of_five_failures_are_enough(judge):
    assert hear(judge, "fffff") == "failure"


def test_half_of_the_calls_are_enough(judge):
    assert hear(judge, "sfsfs") is None
    assert hear(judge, "f") == "failure"


def test_less_than_the_threshold_is_not_enough(judge):
    assert hear(judge, "sssf" * 5) is None


def test_old_failures_do_not_count(judge):
    hear(judge, "ffff", now=0.0)
    assert hear(judge, "sf", now=61.0) is None


@pytest.mark.parametrize("story", ["bbb", "ddd", "cbd", "bcc"])
def test_three_in_a_row_without_an_answer_are_enough(judge, story):
    assert hear(judge, story[:2]) is None
    assert hear(judge, story[2]) == "failure"


@pytest.mark.parametrize("story", ["ccc", "ctc"])
def test_a_row_of_failed_connections_is_told_apart(judge, story):
    assert hear(judge, story) == "connect"


def test_an_answer_ends_the_row(judge):
    assert hear(judge, "ccscc") == "failure", "by the rate, not by the row"
    roomy = Judge(SlidingWindow(20, 60), minimum=20, threshold=50, row_limit=3)
    assert hear(roomy, "ccscc") is None
    assert hear(roomy, "c") == "connect"


def test_an_answer_ends_the_memory_of_what_the_row_was_made_of():
    judge = Judge(SlidingWindow(20, 60), minimum=20, threshold=50, row_limit=3)
    assert hear(judge, "bsccc") == "connect"


def test_errors_that_are_answers_make_no_row(judge):
    assert hear(judge, "ffcc") is None


def test_a_stream_that_breaks_after_its_answer_counts_once(judge):
    marks = [judge.answered(0.0) for _ in range(5)]
    said = [judge.failed(1.0, "cut", mark) for mark in marks]
    assert said == [None, None, "failure", "failure", "failure"]
    assert repr(judge) == "<Judge failures=5/5 row=0>"
