"""Whatever happens, in whatever order: no permit is lost, none too many given, no state gets stuck."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from app.core.errors import NoHealthyEndpoint
from app.core.outcome import Outcome, Settlement
from app.resilience.breaker import Breaker, BreakerOptions
from tests.clock import FakeClock

REASONS = st.sampled_from(["connect", "connect_timeout", "first_byte", "closed", "5xx", "cut", None])
NEXT = {"closed": {"open"}, "open": {"half_open"}, "half_open": {"open", "closed"}}


class Life(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.changes = ["closed"]
        options = BreakerOptions(sliding_window_size=6, minimum_calls=3, half_open_calls=3)
        self.breaker = Breaker("gpu-a", options, self.clock, self.on_change, lambda: 0.5)
        self.out = 0
        self.used = 0

    def on_change(self, name: str, state: str) -> None:
        assert state in NEXT[self.changes[-1]]
        self.changes.append(state)
        self.out = self.used = 0

    @rule(target=permits)
    def come(self):
        ready = self.breaker.ready
        try:
            permit = self.breaker.admit(object())
        except NoHealthyEndpoint as refusal:
            assert not ready
            assert 0 < refusal.retry_after <= 60
            return None
        assert ready
        self.out += 1
        return [permit, self.breaker.epoch, False]

    @rule(held=permits)
    def answer(self, held):
        if held is None or held[2]:
            return
        held[2] = True
        if held[1] == self.breaker.epoch:
            self.out -= 1
            self.used += 1
        held[0].answered()

    @rule(held=consumes(permits), outcome=st.sampled_from(Outcome), reason=REASONS)
    def end(self, held, outcome, reason):
        if held is None:
            return
        if held[1] == self.breaker.epoch and not held[2]:
            self.out -= 1
            self.used += outcome is not Outcome.IGNORED
        held[0](Settlement(outcome, reason=reason))

    @rule(seconds=st.sampled_from([0.1, 5, 10, 61]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(kind=st.sampled_from(["health", "completion"]))
    def probe(self, kind):
        self.breaker.probe_passed(kind)

    @precondition(lambda self: self.breaker.state == "open")
    @rule()
    def recover(self):
        self.clock.advance(66)
        assert self.breaker.ready

    @invariant()
    def probes_are_counted(self):
        state = self.breaker.state
        if state == "half_open":
            assert self.out + self.used <= 3
            assert self.breaker.ready == (self.out + self.used < 3)
        else:
            assert self.breaker.ready == (state == "closed")
        assert (self.breaker.reopens_in is not None) == (state == "open")
        assert (self.breaker.opened_by is None) == (state == "closed")


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)
