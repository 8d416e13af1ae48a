"""CPU time of processes, their children and threads that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from bench.cpu import between, family, rss, shares, spent


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_is_used_is_counted():
    before = spent(os.getpid())
    burn(0.02)
    used = between(before, spent(os.getpid())) / 1e9
    assert 0.02 <= used < 0.5


def test_threads_that_ended_stay_counted():
    before = spent(os.getpid())
    thread = threading.Thread(target=burn, args=(0.02,))
    thread.start()
    thread.join()
    assert between(before, spent(os.getpid())) / 1e9 >= 0.02


def test_children_are_counted_while_they_live():
    script = "import time\nwhile time.process_time() < 0.05: pass\nprint('done', flush=True)\ninput()"
    before = spent(os.getpid())
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        assert child.pid in family(os.getpid())
        assert spent(child.pid)[child.pid] >= 0.05e9
        assert between(before, spent(os.getpid())) >= 0.05e9
        assert rss(child.pid) > 1_000_000
        child.communicate(b"\n")


def test_a_process_that_is_gone_subtracts_nothing():
    assert between({1: 100, 2: 50}, {1: 130}) == 30
    assert between({1: 100}, {1: 130, 3: 7}) == 37


def test_a_process_that_never_was_has_used_nothing():
    assert spent(2**22 - 1) == {}
    assert rss(2**22 - 1) == 0


def test_every_process_has_a_cpu():
    target, others = shares()
    assert len(target) == 1
    assert others
    assert (target | others) == os.sched_getaffinity(0)
    assert not target & others or len(target | others) == 1
