"""A breaker: an endpoint that keeps failing gets no calls until it has proven itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitMemoryStorage,
)
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from app.core.errors import NoHealthyEndpoint
from app.core.units import Seconds
from app.resilience.judge import CONNECT, Judge
from app.resilience.permits import ClosedPermit, ProbePermit
from app.resilience.probation import Probation
from app.resilience.window import SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from pybreaker import CircuitBreakerState

    from app.core.call import Call
    from app.core.clock import Clock
    from app.resilience.judge import Cause
    from app.resilience.window import Mark

State = Literal["closed", "open", "half_open"]

_WORDS: dict[str, State] = {STATE_CLOSED: "closed", STATE_OPEN: "open", STATE_HALF_OPEN: "half_open"}
_LONGEST_RETRY_AFTER = 60.0


class BreakerOptions(BaseModel):
    """Opens at `failure_rate_threshold` percent of the window, once that holds `minimum_calls`,
    or after `consecutive_failures` calls in a row without any answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    sliding_window_size: int = Field(default=20, ge=1)
    sliding_window_age: Seconds = Field(default=60.0, gt=0)
    minimum_calls: int = Field(
        default=5, ge=1, validation_alias=AliasChoices("minimum_calls", "minimum_number_of_calls")
    )
    failure_rate_threshold: float = Field(default=50.0, gt=0, le=100)
    consecutive_failures: int = Field(default=3, ge=1)
    wait_in_open: Seconds = Field(
        default=10.0, validation_alias=AliasChoices("wait_in_open", "wait_duration_in_open_state")
    )
    max_wait_in_open: Seconds = 60.0
    half_open_calls: int = Field(
        default=5,
        ge=1,
        validation_alias=AliasChoices("half_open_calls", "permitted_number_of_calls_in_half_open_state"),
    )


class Breaker:
    """The gate before an endpoint. Its state word and listeners are pybreaker's; the judgement is ours.

    closed     every call passes, and a judge hears how each one went.
    open       nothing passes for `wait_in_open`, +-10 %; doubled each time it opens again from
               half-open or within `sliding_window_age` of closing, up to `max_wait_in_open`.
    half_open  `half_open_calls` calls pass on probation; a probe has passed at its first event.

    IGNORED teaches nothing and gives a probe back. Calls from before the last change of state teach
    nothing either. The open time ends when somebody looks; no timer runs.
    """

    def __init__(
        self,
        name: str,
        options: BreakerOptions,
        clock: Clock,
        on_change: Callable[[str, str], None] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`on_change` gets the name and the new state; `jitter` is uniform over [0, 1)."""
        self.name = name
        self.opened_by: Cause | None = None
        self.epoch = 0
        self.relapsed = False
        """Whether it opened last although a probe of ours, or calls on probation, had found it well."""
        self._proven = False
        self._options = options
        self._clock = clock
        self._jitter = jitter
        self._store = CircuitMemoryStorage(STATE_CLOSED)
        self._word = CircuitBreaker(name=name, state_storage=self._store)
        if on_change is not None:
            self._word.add_listener(_Herald(name, on_change))
        self._judge = self._new_judge()
        self._probation = self._new_probation()
        self._wait = 0.0
        self._open_until = 0.0
        self._closed_at = float("-inf")

    @property
    def state(self) -> State:
        state = _WORDS[self._store.state]
        if state == "open" and self._clock.monotonic() >= self._open_until:
            self._half_open(proven=False)
            return "half_open"
        return state

    @property
    def ready(self) -> bool:
        state = self.state
        return state == "closed" or (state == "half_open" and self._probation.ready)

    @property
    def reopens_in(self) -> float | None:
        """Seconds until an open breaker lets probes through; None when it is not open."""
        return self._open_until - self._clock.monotonic() if self.state == "open" else None

    def admit(self, call: Call) -> ClosedPermit | ProbePermit:
        """Raises NoHealthyEndpoint, with the time until the next probe as far as it is known."""
        if self._store.state == STATE_CLOSED:
            return ClosedPermit(self, self.epoch)
        if self.state == "half_open" and self._probation.ready:
            self._probation.give()
            return ProbePermit(self, self.epoch)
        raise NoHealthyEndpoint(retry_after=min(self.reopens_in or 1.0, _LONGEST_RETRY_AFTER))

    def probe_passed(self, kind: Literal["health", "completion"]) -> None:
        """A probe of our own succeeded.

        A completion ends the open time at once, and counts as one probe passed in half-open. Good health
        (the caller says when it has been good for long enough) ends the open time of an endpoint that
        could not be reached; it says nothing about one that broke.
        """
        state = self.state
        if state == "open" and (kind == "completion" or self.opened_by == "connect"):
            self._half_open(proven=True)
        elif state == "half_open" and kind == "completion":
            self._probation.succeed()
            self._weigh()

    def answered(self) -> Mark:
        """A call let through while closed is going well; for its permit alone."""
        return self._judge.answered(self._clock.monotonic())

    def failed(self, reason: str | None, mark: Mark | None) -> None:
        """A call let through while closed has failed; for its permit alone."""
        cause = self._judge.failed(self._clock.monotonic(), reason, mark)
        if cause is not None:
            self._open(cause)

    def probe_answered(self) -> None:
        """For the probe's permit alone, as the two below."""
        self._probation.succeed()
        self._weigh()

    def probe_failed(self, reason: str | None, *, answered: bool) -> None:
        self._probation.fail(connect=reason in CONNECT, passed=answered)
        self._weigh()

    def probe_undecided(self) -> None:
        self._probation.take_back()

    def _weigh(self) -> None:
        verdict = self._probation.verdict
        if verdict == "failed":
            self._open("connect" if self._probation.unreachable else "failure")
        elif verdict == "passed":
            self._close()

    def _open(self, cause: Cause) -> None:
        now = self._clock.monotonic()
        options = self._options
        again = self._store.state == STATE_HALF_OPEN or now - self._closed_at < options.sliding_window_age
        longest = max(options.wait_in_open, options.max_wait_in_open)
        self._wait = min(self._wait * 2, longest) if again else options.wait_in_open
        self._open_until = now + self._wait * (0.9 + 0.2 * self._jitter())
        self.opened_by = cause
        self.relapsed = self._proven
        self._turn(STATE_OPEN, self._word.open)

    def _half_open(self, *, proven: bool) -> None:
        self._proven = proven
        self._probation = self._new_probation()
        self._turn(STATE_HALF_OPEN, self._word.half_open)

    def _close(self) -> None:
        self._judge = self._new_judge()
        self._closed_at = self._clock.monotonic()
        self._proven = True
        self.opened_by = None
        self._turn(STATE_CLOSED, self._word.close)

    def _turn(self, word: str, turn: Callable[[], object]) -> None:
        """The word is written first: pybreaker tells its listeners before, and they may look at it at once."""
        self.epoch += 1
        self._store.state = word
        turn()

    def _new_judge(self) -> Judge:
        options = self._options
        window = SlidingWindow(options.sliding_window_size, options.sliding_window_age)
        minimum = min(options.minimum_calls, options.sliding_window_size)
        return Judge(window, minimum, options.failure_rate_threshold, options.consecutive_failures)

    def _new_probation(self) -> Probation:
        return Probation(self._options.half_open_calls, self._options.failure_rate_threshold)

    def __repr__(self) -> str:
        parts = {"closed": self._judge, "open": self.opened_by, "half_open": self._probation}
        state = _WORDS[self._store.state]
        return f"<Breaker {self.name} {state} {parts[state]}>"


class _Herald(CircuitBreakerListener):
    """Passes pybreaker's news on in our words."""

    def __init__(self, name: str, on_change: Callable[[str, str], None]) -> None:
        self._name = name
        self._on_change = on_change

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        self._on_change(self._name, _WORDS[new_state.name])
