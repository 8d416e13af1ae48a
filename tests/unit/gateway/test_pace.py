"""Pace: what an engine has probably made for a call that never got to say so."""

from __future__ import annotations

import asyncio

import pytest

from app.core.call import Attempt
from app.core.outcome import Outcome, Settlement, Usage
from app.gateway.pace import Pace
from tests.clock import settle
from tests.fakes import make_call
from tests.line import JSON, Rig, answer


def end(completion: int, elapsed: float, first: float | None = None, outcome=Outcome.SUCCESS) -> Settlement:
    return Settlement(outcome, Usage(5, completion), first_byte=first, elapsed=elapsed)


def test_nothing_is_known_before_a_call_has_finished():
    assert Pace().generated(make_call(), 10) == 0


def test_a_stream_generates_from_its_first_event_on():
    pace = Pace()
    pace.settled(make_call(streams=True), end(80, elapsed=3, first=1))
    assert pace.generated(make_call(streams=True), 2) == 40
    assert pace.generated(make_call(streams=True), 0.5) == 0


def test_a_json_answer_shows_only_its_whole_time():
    pace = Pace()
    pace.settled(make_call(), end(80, elapsed=4, first=4))
    assert pace.generated(make_call(), 2) == 40


@pytest.mark.parametrize(("streams", "first"), [(True, 11.0), (False, 13.0)])
def test_time_in_a_queue_or_at_another_endpoint_says_nothing_of_the_model(streams, first):
    pace = Pace()
    settlement = end(80, elapsed=13, first=first)
    attempts = [Attempt("b", 0.0, end(0, 9)), Attempt("a", 10.0, settlement)]
    pace.settled(make_call(streams=streams, attempts=attempts), settlement)
    assert pace.generated(make_call(), 3) == 80


def test_stream_that_was_carried_on_says_nothing_of_its_last_endpoint():
    pace = Pace()
    attempts = [Attempt("a", 0.0, end(0, elapsed=3)), Attempt("b", 3.0, end(80, elapsed=4))]
    pace.settled(make_call(streams=True, attempts=attempts), end(80, elapsed=4, first=1))
    assert pace.generated(make_call(streams=True), 2) == 0


def test_streams_speak_for_json_calls_while_no_json_call_has():
    pace = Pace()
    pace.settled(make_call(streams=True), end(80, elapsed=3, first=1))
    assert pace.generated(make_call(), 2) == 40


def test_a_call_cannot_have_made_more_than_it_may():
    pace = Pace()
    pace.settled(make_call(), end(80, elapsed=4))
    assert pace.generated(make_call(completion_limit=30), 60) == 30


def test_the_newest_call_counts_a_tenth():
    pace = Pace()
    pace.settled(make_call(), end(100, elapsed=1))
    pace.settled(make_call(), end(200, elapsed=1))
    assert pace.generated(make_call(), 1) == 110


@pytest.mark.parametrize(
    "settlement",
    [end(50, 1, outcome=Outcome.FAILURE), end(0, 1), end(50, elapsed=0)],
    ids=["failed", "nothing generated", "no time"],
)
def test_what_did_not_finish_teaches_nothing(settlement):
    pace = Pace()
    pace.settled(make_call(), settlement)
    assert pace.generated(make_call(), 10) == 0


async def test_a_json_call_that_is_hung_up_is_billed_by_estimate():
    rig = Rig("a", a=[(200, JSON, [answer()]), asyncio.Event()])
    rig.pace.settled(make_call(), end(100, elapsed=1))
    await rig.call()
    task = asyncio.ensure_future(rig.call())
    await settle()
    await rig.clock.run(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.row.usage, rig.row.usage_source) == (Usage(7, 200), "estimated")


def test_a_call_takes_as_long_as_those_before_or_as_its_own_limit_allows():
    pace = Pace()
    assert pace.takes(make_call(streams=True)) == 0
    pace.settled(make_call(streams=True), end(80, elapsed=3, first=1))
    assert pace.takes(make_call(streams=True)) == 3
    assert pace.takes(make_call(streams=True, completion_limit=20)) == 1.5
    assert pace.takes(make_call(streams=True, completion_limit=4000)) == 3
