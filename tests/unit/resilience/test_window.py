"""The sliding window counts the last calls, once each."""

from app.resilience.window import SlidingWindow


def test_counts_calls_and_failures():
    window = SlidingWindow(size=10, age=60)
    for failed in (True, False, True):
        window.add(0.0, failed=failed)
    assert (window.calls, window.failures) == (3, 2)


def test_never_holds_more_than_its_size():
    window = SlidingWindow(size=3, age=60)
    for failed in (True, False, False, False):
        window.add(0.0, failed=failed)
    assert (window.calls, window.failures) == (3, 0)


def test_forgets_calls_older_than_its_age():
    window = SlidingWindow(size=10, age=60)
    window.add(0.0, failed=True)
    window.add(60.0, failed=False)
    assert window.failures == 1
    window.add(60.1, failed=False)
    assert (window.calls, window.failures) == (2, 0)


def test_a_good_call_that_breaks_later_turns_its_one_mark():
    window = SlidingWindow(size=10, age=60)
    mark = window.add(0.0, failed=False)
    window.fail(mark, 10.0)
    assert (window.calls, window.failures) == (1, 1)
    window.fail(mark, 10.0)
    assert (window.calls, window.failures) == (1, 1)


def test_a_call_that_has_left_the_window_fails_as_a_new_one():
    window = SlidingWindow(size=2, age=60)
    mark = window.add(0.0, failed=False)
    for _ in range(2):
        window.add(1.0, failed=False)
    window.fail(mark, 2.0)
    assert (window.calls, window.failures) == (2, 1)
    for _ in range(2):
        window.add(3.0, failed=False)
    assert window.failures == 0
