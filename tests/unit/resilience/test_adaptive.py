"""A limit that finds the knee of an engine: in virtual time, against an engine whose knee is known."""

from __future__ import annotations

import random
from collections import deque
from statistics import mean

import pytest

from app.core.outcome import Outcome, Settlement
from app.resilience.adaptive import FEWEST, Adaptive, AdaptiveOptions
from app.resilience.bulkhead import Bulkhead, BulkheadOptions
from tests.clock import FakeClock
from tests.fakes import make_call

DONE = Settlement(Outcome.SUCCESS)
CEILING = 256


class Engine:
    """Runs `knee` calls at once, the others wait in order, as behind max_num_seqs."""

    def __init__(self, clock: FakeClock, knee: int) -> None:
        self.clock = clock
        self.knee = knee
        self.running = 0
        self.overhead = 0.05
        self.per_token = 0.0002
        self.crowding = 0.0
        self.waiting: deque = deque()
        self.dice = random.Random(7)

    def submit(self, tokens: int, seconds: float, first, done) -> None:
        self.waiting.append((tokens, seconds, first, done))
        self.go_on()

    def go_on(self) -> None:
        while self.waiting and self.running < self.knee:
            tokens, seconds, first, done = self.waiting.popleft()
            self.running += 1
            crowd = 1 + self.crowding * self.running / self.knee
            prefill = (self.overhead + self.per_token * tokens) * crowd * self.dice.uniform(0.8, 1.2)
            self.clock.call_later(prefill, first)
            self.clock.call_later(prefill + seconds, lambda done=done: self.end(done))

    def end(self, done) -> None:
        self.running -= 1
        done()
        self.go_on()


class Load:
    """Callers before one endpoint: `callers` of them, each with its next call ready when one ends."""

    def __init__(
        self, knee: int, options: AdaptiveOptions | None = None, tokens=lambda dice: 500, callers=400
    ) -> None:
        self.clock = FakeClock()
        self.engine = Engine(self.clock, knee)
        self.bulkhead = Bulkhead(BulkheadOptions(max_concurrent_calls=CEILING), self.pull)
        self.adaptive = Adaptive(
            options or AdaptiveOptions(enabled=True), self.bulkhead, self.clock, self.pull
        )
        self.dice = random.Random(3)
        self.tokens = tokens
        self.callers = callers
        self.asking = 0
        self.limits: list[tuple[float, int]] = []

    def pull(self) -> None:
        while self.asking < self.callers and self.bulkhead.ready:
            self.ask()

    def ask(self) -> None:
        self.asking += 1
        tokens = self.tokens(self.dice)
        call = make_call(streams=True, prompt_estimate=tokens)
        place = self.bulkhead.admit(call)
        sample = self.adaptive.admit(call)

        def done() -> None:
            self.asking -= 1
            sample(DONE)
            place(DONE)
            self.pull()

        self.engine.submit(tokens, self.dice.uniform(5, 15), sample.answered, done)

    def run(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.pull()
            self.clock.advance(1.0)
            self.limits.append((self.clock.monotonic(), self.bulkhead.limit))

    def settled(self, seconds: float) -> float:
        """The mean limit of the last so many seconds."""
        since = self.clock.monotonic() - seconds
        return mean(limit for at, limit in self.limits if at > since)


LENGTHS = {
    "fixed": lambda dice: 500,
    "mixed": lambda dice: int(2 ** dice.uniform(4, 14)),
    "mostly long": lambda dice: 20_000 if dice.random() < 0.8 else 100,
}


@pytest.mark.parametrize("knee", [16, 32, 100])
@pytest.mark.parametrize("initial", [4, CEILING], ids=["from below", "from above"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_it_settles_within_a_tenth_of_the_knee(knee, initial, lengths):
    load = Load(knee, AdaptiveOptions(enabled=True, initial=initial), lengths)
    load.run(1000)
    assert load.settled(300) == pytest.approx(knee, rel=0.1), load.adaptive


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_it_follows_a_knee_that_moves(lengths):
    load = Load(32, tokens=lengths)
    load.run(600)
    for knee in (64, 20):
        load.engine.knee = knee
        load.run(600)
        assert load.settled(300) == pytest.approx(knee, rel=0.1), load.adaptive


def test_a_slower_prefill_in_a_full_batch_is_no_queue():
    load = Load(64)
    load.engine.crowding = 0.7
    load.run(600)
    assert load.settled(300) == pytest.approx(64, rel=0.1), load.adaptive


def test_long_prompts_after_short_ones_do_not_look_like_a_queue():
    """A first event of six seconds hides a wait of a few more, which is a fifth of the knee here."""
    load = Load(64, tokens=lambda dice: 100)
    load.run(400)
    load.tokens = lambda dice: 30_000
    load.run(400)
    assert 58 <= load.settled(200) <= 80, load.adaptive


def test_hours_with_little_or_nothing_to_do_change_nothing():
    load = Load(32)
    load.run(400)
    load.callers = 5
    load.run(60)
    before = load.bulkhead.limit
    load.run(7200)
    assert load.bulkhead.limit == before
    load.callers = 0
    load.run(3600)
    assert load.bulkhead.limit == before
    load.callers = 400
    load.run(60)
    assert load.settled(50) == pytest.approx(32, rel=0.1), load.adaptive


def test_a_limit_nobody_reaches_does_not_grow():
    load = Load(100, callers=10)
    load.run(1000)
    assert load.bulkhead.limit == 16


@pytest.mark.parametrize("known", [True, False], ids=["nobody waits, it says", "it says nothing"])
def test_an_engine_that_became_slower_is_not_taken_for_a_full_one_for_ever(known):
    """As after a change of traffic that its prefix cache does not know."""
    load = Load(32)
    load.run(400)
    load.engine.overhead = 1.0
    lowest = load.bulkhead.limit
    for _ in range(60):
        if known:
            load.adaptive.told(max(0, len(load.engine.waiting) - 1), load.engine.running, load.clock.now + 45)
        load.run(15)
        lowest = min(lowest, load.bulkhead.limit)
    assert load.settled(200) == pytest.approx(32, rel=0.15), load.adaptive
    assert (lowest > 16) is known


class Gate:
    """The gate alone; `answers` pass one after the other, each with its own wait."""

    def __init__(self, limit: int = CEILING, **options) -> None:
        self.clock = FakeClock()
        self.bulkhead = Bulkhead(BulkheadOptions(max_concurrent_calls=limit))
        self.places = 0
        self.adaptive = Adaptive(
            AdaptiveOptions(enabled=True, **options), self.bulkhead, self.clock, self._added
        )

    def _added(self) -> None:
        self.places += 1

    def answers(self, wait: float, number: int = FEWEST, *, streams=True, full=True, end=None) -> int:
        """So many calls in flight together; the limit afterwards."""
        self.bulkhead.inflight = self.bulkhead.limit if full else 0
        samples = [
            self.adaptive.admit(make_call(streams=streams, prompt_estimate=100)) for _ in range(number)
        ]
        self.clock.advance(wait)
        for sample in samples:
            self.clock.advance(0.01)
            if end is None:
                sample.answered()
            sample(end or DONE)
        self.bulkhead.inflight = 0
        return self.bulkhead.limit


def test_it_begins_where_it_is_told_and_stays_between_its_bounds():
    assert Gate(initial=8).bulkhead.limit == 8
    assert Gate(limit=10).bulkhead.limit == 10
    gate = Gate(limit=20, min=6)
    for _ in range(30):
        gate.answers(0.1)
    assert gate.bulkhead.limit == 20
    for _ in range(5):
        gate.answers(10.0)
    assert gate.bulkhead.limit == 6
    gate.adaptive.bound(5)
    assert gate.bulkhead.limit == 5
    assert "5.0/5" in repr(gate.adaptive)


def test_every_place_that_is_added_is_told_of():
    gate = Gate(initial=16)
    assert gate.answers(0.1) == 24
    assert gate.places == 8


def test_the_limit_grows_by_half_until_it_has_fallen_once_and_by_one_afterwards():
    gate = Gate(initial=16)
    assert [gate.answers(0.1) for _ in range(2)] == [24, 36]
    assert gate.answers(5.0) == 18
    assert [gate.answers(0.1) for _ in range(6)] == [19, 20, 21, 22, 24, 26]


def test_fewer_answers_than_a_window_change_nothing():
    gate = Gate(initial=16)
    assert gate.answers(0.1, FEWEST - 1) == 16
    gate = Gate(initial=200)
    assert gate.answers(0.1, 49) == 200
    assert gate.answers(0.1, 1) == 256


def test_answers_to_calls_from_before_the_last_change_are_not_heard():
    gate = Gate(initial=16)
    old = [gate.adaptive.admit(make_call(streams=True, prompt_estimate=100)) for _ in range(FEWEST)]
    gate.answers(0.1)
    gate.clock.advance(100)
    for sample in old:
        sample.answered()
    assert gate.bulkhead.limit == 24


def test_json_calls_tell_nothing_by_the_time_they_take():
    gate = Gate(initial=16)
    gate.answers(0.1)
    assert gate.answers(50.0, 100, streams=False) == 24


@pytest.mark.parametrize("reason", ["hang_up", "5xx", "abandoned", "total"])
def test_calls_that_end_unanswered_tell_nothing(reason):
    gate = Gate(initial=16)
    gate.answers(0.1)
    end = Settlement(Outcome.IGNORED, reason=reason)
    assert gate.answers(50.0, 100, end=end) == 24


def test_calls_given_up_for_their_first_event_have_waited_that_long():
    gate = Gate(initial=16)
    gate.answers(0.1)
    assert gate.answers(50.0, end=Settlement(Outcome.FAILURE, reason="first_byte")) == 12


def test_calls_refused_together_for_want_of_room_lower_it_once():
    gate = Gate(initial=20)
    busy = Settlement(Outcome.IGNORED, reason="busy")
    assert gate.answers(0.1, 50, end=busy) == 18
    assert gate.answers(0.1, 50, end=busy) == 16


def test_calls_the_engine_says_wait_keep_it_from_rising_and_the_second_time_lower_it():
    gate = Gate(initial=64)
    gate.adaptive.told(16, 48, gate.clock.now + 45)
    assert gate.answers(0.1, 16) == 64
    gate.adaptive.told(16, 48, gate.clock.now + 45)
    assert gate.bulkhead.limit == 48
    gate.adaptive.told(0, 48, gate.clock.now + 45)
    assert gate.answers(0.1, 16) == 49


def test_a_share_of_what_waits_is_ours_when_gateways_share_an_engine():
    gate = Gate(initial=32)
    for _ in range(2):
        gate.adaptive.told(32, 32, gate.clock.now + 45)
    assert gate.bulkhead.limit == 16
    gate = Gate(initial=32)
    for _ in range(2):
        gate.adaptive.told(32, None, gate.clock.now + 45)
    assert gate.bulkhead.limit == 16


def test_what_the_engine_said_long_ago_counts_no_more():
    gate = Gate(initial=64)
    gate.adaptive.told(16, 48, gate.clock.now + 45)
    gate.clock.advance(45)
    gate.adaptive.told(16, 48, gate.clock.now + 45)
    assert gate.bulkhead.limit == 64, "the one before is stale: it is the first again"
    gate.clock.advance(45)
    assert gate.answers(0.1, 16) == 96


def test_waits_are_not_believed_against_an_engine_that_says_nobody_waits():
    gate = Gate(initial=16)
    gate.answers(0.1)
    gate.adaptive.told(0, 5, gate.clock.now + 45)
    assert gate.answers(1.0) == 24
    gate.clock.advance(45)
    assert gate.answers(1.0) == 12, "nothing was learnt: it may have filled up since it said so"


def test_what_takes_longer_while_nobody_waits_is_what_the_engine_takes_now():
    gate = Gate(initial=16)
    gate.answers(0.1)
    gate.answers(1.0, FEWEST - 1)
    gate.adaptive.told(0, 5, gate.clock.now + 45)
    assert gate.answers(1.0, 1) == 24
    gate.clock.advance(45)
    assert gate.answers(1.0) == 36
