"""Growing calls are looked at once a second, the longest waiting first, and not at all when they ended."""

from __future__ import annotations

from app.core.outcome import Usage
from app.tenancy import checkpoints
from app.tenancy.checkpoints import EVERY, Checkpoints
from tests.fakes import make_call


class Reading:
    usage_source = "upstream"

    def __init__(self, completion=0):
        self.usage = Usage(9, completion)


def ids(calls):
    return [call.id for call in calls]


def test_a_call_is_due_after_a_second_and_then_every_second():
    watched, call = Checkpoints(), make_call(id="a", metered=Reading(1))
    watched.watch(call, 100.0)
    assert ids(watched.moved(100.0 + EVERY - 0.1)) == []
    assert ids(watched.moved(100.0 + EVERY)) == ["a"]
    call.metered = Reading(2)
    assert ids(watched.moved(100.0 + EVERY + 0.9)) == []
    assert ids(watched.moved(100.0 + 2 * EVERY)) == ["a"]


def test_a_call_that_stands_still_or_has_no_answer_is_not_written_again():
    watched = Checkpoints()
    watched.watch(make_call(id="a", metered=Reading(1)), 0.0)
    watched.watch(make_call(id="b"), 0.0)
    assert ids(watched.moved(1.0)) == ["a"]
    assert ids(watched.moved(2.0)) == []


def test_nothing_of_a_finished_call_is_kept():
    watched, call = Checkpoints(), make_call(metered=Reading(1))
    watched.watch(call, 0.0)
    watched.forget(call)
    watched.forget(call)
    assert (len(watched), ids(watched.moved(9.0)), repr(watched)) == (0, [], "<Checkpoints watched=0>")


def test_a_sweep_is_bounded_and_the_next_one_goes_on(monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST", 2)
    watched = Checkpoints()
    for name in "abcde":
        watched.watch(make_call(id=name, metered=Reading(1)), 0.0)
    assert [ids(watched.moved(1.0)) for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]
