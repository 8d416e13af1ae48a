"""A bulkhead never lets more calls in than it has places, and never loses one."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from app.core.errors import Overloaded
from app.core.outcome import ABANDONED, Outcome, Settlement
from app.resilience.bulkhead import Bulkhead, BulkheadOptions

CALL = object()
DONE = Settlement(Outcome.SUCCESS)


def bulkhead_of(places: int, on_free=None) -> Bulkhead:
    return Bulkhead(BulkheadOptions(max_concurrent_calls=places), on_free)


def test_refuses_the_call_after_the_last_place():
    bulkhead = bulkhead_of(32)
    for _ in range(32):
        bulkhead.admit(CALL)
    assert not bulkhead.ready
    with pytest.raises(Overloaded):
        bulkhead.admit(CALL)
    assert bulkhead.inflight == 32


def test_a_call_keeps_its_place_to_its_last_byte():
    bulkhead = bulkhead_of(1)
    place = bulkhead.admit(CALL)
    place.answered()
    assert not bulkhead.ready
    place(DONE)
    assert bulkhead.ready


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_gives_the_place_back(outcome):
    bulkhead = bulkhead_of(1)
    bulkhead.admit(CALL)(Settlement(outcome))
    assert bulkhead.inflight == 0


def test_a_place_is_given_back_once_however_often_it_ends():
    bulkhead = bulkhead_of(2)
    place, _ = bulkhead.admit(CALL), bulkhead.admit(CALL)
    place(DONE)
    place(ABANDONED)
    assert bulkhead.inflight == 1


def test_a_freed_place_can_be_taken_by_whoever_hears_of_it():
    taken = []
    bulkhead = bulkhead_of(1, lambda: taken.append(bulkhead.admit(CALL)))
    bulkhead.admit(CALL)(DONE)
    assert len(taken) == 1
    assert bulkhead.inflight == 1


def test_a_lowered_limit_lets_running_calls_be_and_new_ones_wait():
    bulkhead = bulkhead_of(3)
    places = [bulkhead.admit(CALL) for _ in range(3)]
    bulkhead.limit = 1
    places[0](DONE)
    places[1](DONE)
    assert not bulkhead.ready
    places[2](DONE)
    assert bulkhead.ready


def test_shows_its_places():
    bulkhead = bulkhead_of(2)
    bulkhead.admit(CALL)
    assert repr(bulkhead) == "<Bulkhead 1/2>"


class Places(RuleBasedStateMachine):
    """Whatever comes and goes: in flight is what came less what went, and within the limit."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.freed = 0
        self.bulkhead = bulkhead_of(3, self.on_free)
        self.running = 0

    def on_free(self) -> None:
        self.freed += 1

    @rule(target=held)
    def come(self):
        if self.running == 3:
            with pytest.raises(Overloaded):
                self.bulkhead.admit(CALL)
            return None
        self.running += 1
        return self.bulkhead.admit(CALL)

    @rule(place=consumes(held), outcome=st.sampled_from(Outcome), times=st.integers(1, 3))
    def go(self, place, outcome, times):
        before = self.freed
        if place is not None:
            for _ in range(times):
                place(Settlement(outcome))
            self.running -= 1
            assert self.freed == before + 1

    @invariant()
    def counted(self):
        assert self.bulkhead.inflight == self.running
        assert self.bulkhead.ready == (self.running < 3)


TestPlaces = Places.TestCase
