"""What an operator is told of a call that has ended."""

from __future__ import annotations

from app.core.call import HEDGE_LOST, Attempt
from app.core.outcome import Outcome, Settlement, Usage
from app.telemetry.decisions import DecisionLog
from tests.clock import FakeClock
from tests.unit.telemetry.trail import a_call, an_end

CANDIDATES = (("a", 0, None), ("b", 0, None), ("c", 1, None), ("d", 2, "weight"))


def explained(*notes, candidates=CANDIDATES, **trail):
    log, call, clock = DecisionLog(), a_call(candidates=candidates, **trail), FakeClock()
    for after, what, told in notes:
        clock.advance(after)
        call.note(clock, what, told)
    log.settled(call, an_end())
    return log.explain("call-1")


def excluded(*notes, **trail) -> dict:
    return {row["endpoint"]: row["excluded"] for row in explained(*notes, **trail)["candidates"]}


def test_in_calm_only_what_is_less_preferred_is_out():
    told = explained()
    assert told["candidates_at"] == "dispatch"
    assert told["events"] == []
    assert excluded() == {"a": None, "b": None, "c": "less_preferred", "d": "weight"}


def test_what_was_out_of_order_is_told_with_its_reason():
    assert excluded((0, "excluded", (("a", "open"),)))["a"] == "open"


def test_the_next_group_counts_when_the_first_is_out():
    out = (("a", "open"), ("b", "full"))
    assert excluded((0, "excluded", out)) == {"a": "open", "b": "full", "c": None, "d": "weight"}


def test_the_last_look_is_the_one_that_is_told():
    notes = [(0, "excluded", (("a", "full"), ("b", "full"))), (1, "excluded", (("a", "tried"),))]
    assert excluded(*notes)["a"] == "tried"
    assert excluded(*notes)["b"] is None


def test_what_kept_the_model_out_says_nothing_of_its_fallback():
    notes = [(0, "excluded", (("a", "down"),)), (1, "fallback", (("from", "m"), ("to", "n")))]
    assert excluded(*notes)["a"] is None
    assert [event["detail"] for event in explained(*notes)["events"]] == [
        {"a": "down"},
        {"from": "m", "to": "n"},
    ]


def test_events_are_told_in_seconds_since_the_call_arrived():
    told = explained((0.5, "waits", None), (2, "retry_refused", "budget"))
    assert told["events"] == [
        {"at_s": 0.5, "what": "waits", "detail": None},
        {"at_s": 2.5, "what": "retry_refused", "detail": "budget"},
    ]


def test_a_call_that_never_looked_for_a_place_has_no_candidates():
    told = explained(candidates=())
    assert (told["candidates_at"], told["candidates"]) == (None, [])


def test_attempts_are_told_with_their_times_and_hedges_as_such():
    lost = Settlement(Outcome.IGNORED, usage=Usage(7), reason=HEDGE_LOST, billed=False)
    told = explained(attempts=[Attempt("a", 0.5, lost, ended=2.0), Attempt("b", 1.5, an_end(), True, 3.0)])
    assert told["hedged"]
    assert [
        (
            each["endpoint"],
            each["hedge"],
            each["started_s"],
            each["ended_s"],
            each["elapsed_s"],
            each["reason"],
        )
        for each in told["attempts"]
    ] == [("a", False, 0.5, 2.0, 1.5, "hedge_lost"), ("b", True, 1.5, 3.0, 1.5, None)]
