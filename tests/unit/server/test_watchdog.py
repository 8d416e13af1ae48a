from __future__ import annotations

import logging
import threading

import pytest

from app.server.watchdog import Watchdog, WatchdogOptions, watched

OPTIONS = WatchdogOptions(dump_after=5)


class Loop:
    """Counts as far as a test says."""

    def __init__(self):
        self.beats = 0
        self.dog = Watchdog(lambda: self.beats, OPTIONS)

    def pass_(self, seconds, *, running=False):
        for _ in range(seconds):
            self.beats += running
            self.dog.look(1.0)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def said(caplog):
    """What is logged, stacks cut off."""
    caplog.set_level(logging.INFO, logger="app.server.watchdog")
    return lambda: [record.message.splitlines()[0] for record in caplog.records]


def test_a_loop_that_runs_is_not_talked_about(loop, said):
    loop.pass_(100, running=True)
    assert said() == []


def test_a_loop_that_is_late_but_not_for_long_is_not_either(loop, said):
    for _ in range(10):
        loop.pass_(4)
        loop.pass_(1, running=True)
    assert said() == []


def test_a_hang_is_told_once_with_the_stack_of_the_loop(loop, said, caplog):
    loop.pass_(5)
    assert said()[0] == "the event loop hangs for 5 s; MainThread:"
    assert "test_a_hang_is_told_once" in caplog.records[0].message
    before = said()
    loop.pass_(100)
    assert said() == before


def test_other_threads_are_told_too(loop, said):
    go_on = threading.Event()
    other = threading.Thread(target=go_on.wait, name="other")
    other.start()
    loop.pass_(5)
    go_on.set()
    other.join()
    assert "the event loop hangs for 5 s; other:" in said()


def test_the_end_of_a_hang_is_told_and_the_next_one_anew(loop, said):
    loop.pass_(7)
    loop.pass_(1, running=True)
    assert said()[-1] == "the event loop runs again after 7 s"
    before = len(said())
    loop.pass_(4)
    assert len(said()) == before
    loop.pass_(1)
    assert said()[before] == "the event loop hangs for 5 s; MainThread:"


def test_a_thread_watches_and_is_gone_afterwards(said):
    before = threading.active_count()
    found = threading.Event()
    beats = iter([0, 0])

    def stuck():
        if next(beats, None) is None:
            found.set()
        return 0

    with watched(stuck, WatchdogOptions(dump_after=0.05)):
        assert threading.active_count() == before + 1
        assert found.wait(30)
    assert threading.active_count() == before
