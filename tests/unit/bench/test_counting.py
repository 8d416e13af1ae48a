"""Counts are exact: the same work is the same number, whatever ran before and beside it."""

from __future__ import annotations

import dis
import sys
import threading
from contextlib import contextmanager
from itertools import pairwise

import pytest

from bench.counting import Counter, Work, difference, place, total


def straight(a, b):
    return a + b


def looping(turns):
    found = 0
    for each in range(turns):
        found += len(str(each))
    return found


def outer():
    return straight(looping(2), abs(-1))


async def asking(times):
    for _ in range(times):
        await Pause()


class Pause:
    def __await__(self):
        yield


@contextmanager
def counted(counter):
    profile = {}
    with counter.counting():
        yield profile
    profile.update(counter.profile())


def work(function, *arguments):
    with counted(Counter()) as profile:
        function(*arguments)
    return profile


def test_instructions_are_those_of_the_byte_code():
    def longer(a, b):
        return a + b * a - b + a

    short, long = (work(f, 1, 2)[place(f.__code__)] for f in (straight, longer))
    written = len(list(dis.get_instructions(longer))) - len(list(dis.get_instructions(straight)))
    assert written == 6
    assert long.less(short) == Work(written, 0, 0)


def test_every_turn_of_a_loop_costs_the_same():
    costs = [work(looping, turns)[place(looping.__code__)] for turns in range(5)]
    steps = {later.less(earlier) for earlier, later in pairwise(costs[1:])}
    assert len(steps) == 1
    (step,) = steps
    assert (step.calls, step.c_calls) == (0, 1)  # str is a type, and no call
    assert step.instructions > 5


def test_a_function_that_ran_often_counts_as_it_did_when_new():
    fresh = work(looping, 10)
    for _ in range(1000):
        looping(10)
    assert work(looping, 10)[place(looping.__code__)] == fresh[place(looping.__code__)]


def test_calls_belong_to_whom_they_enter_and_c_calls_to_their_caller():
    profile = work(outer)
    assert profile[place(outer.__code__)][1:] == (1, 1)
    assert profile[place(looping.__code__)][1:] == (1, 2)
    assert profile[place(straight.__code__)][1:] == (1, 0)


def test_a_coroutine_is_entered_again_at_each_resumption():
    def run(coroutine):
        for _ in range(4):
            coroutine.send(None)

    assert work(run, asking(9))[place(asking.__code__)].calls == 4


def test_files_left_out_count_nothing_but_what_they_call_counts():
    counter = Counter(but=__file__)
    with counter.counting():
        dis.findlinestarts(straight.__code__).__next__()
    names = {name.partition(":")[0] for name in counter.profile()}
    assert "dis.py" in names
    assert not any(name.endswith("test_counting.py") for name in names)


def test_other_threads_are_not_counted():
    others = threading.Thread(target=looping, args=(5,))
    with counted(Counter()) as profile:
        others.start()
        others.join()
    assert place(looping.__code__) not in profile


def test_a_tracer_that_was_there_is_there_again():
    def tracer(frame, event, arg):
        return None

    former = sys.gettrace()
    sys.settrace(tracer)
    try:
        with Counter().counting():
            pass
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(former)


def test_places_are_the_same_on_every_machine():
    assert place(dis.dis.__code__) == "dis.py:dis"
    assert place(Counter.on.__code__) == "bench/counting.py:Counter.on"
    assert place(pytest.importorskip.__code__) == "_pytest/outcomes.py:importorskip"


def test_profiles_are_told_apart_function_by_function():
    earlier = {"a": Work(10, 1, 0), "b": Work(5, 1, 1)}
    later = {"a": Work(30, 3, 0), "b": Work(5, 1, 1), "c": Work(8, 2, 2)}
    assert difference(later, earlier, 2) == {"a": Work(10, 1, 0), "c": Work(4, 1, 1)}
    assert total(later) == Work(43, 6, 3)
    assert total({}) == Work()
