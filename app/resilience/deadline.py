"""Deadlines: one timer a call turns too long a silence, or too long a call, into the error that says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.units import Seconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from app.core.clock import Clock, Timer
    from app.core.errors import GatewayError

STRIDE = 30.0
"""Seconds a timer runs at most: a later, shorter limit above that finds it early enough and sets no other."""

LATE = 0.05
"""Seconds from which on a timer is late because the event loop was held up."""

_NEVER = float("inf")

Positive = Annotated[Seconds, Field(gt=0)]


class FirstByte(BaseModel):
    """How long a stream's first byte may take: it grows with the prompt. A bare duration is fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Positive = 120.0
    per_1k_prompt_tokens: Seconds = 2.0
    max: Positive = 600.0

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        if isinstance(value, str | int | float):
            return {"base": value, "per_1k_prompt_tokens": 0, "max": value}
        return value


class TimeoutOptions(BaseModel):
    """`first_byte` and `idle` are for streams; `total` is for JSON answers, `stream_total` for streams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect: Positive = 2.0
    first_byte: FirstByte = FirstByte()
    idle: Positive = 300.0
    total: Positive = 590.0
    stream_total: Positive = 3600.0

    def first_byte_for(self, prompt_tokens: int) -> float:
        """Seconds."""
        limit = self.first_byte
        return min(limit.max, limit.base + limit.per_1k_prompt_tokens * prompt_tokens / 1000)


class Deadline(Struct, eq=False):
    """Cancels its task when a limit is over, and tells that cancellation from everybody else's.

    There is an outer limit, `until`, which may be given at once, and an inner one, `watch`, which `touch`
    begins anew. Either as a context manager, which raises the limit's error in place of its own
    CancelledError, or by `start`, `verdict` and `stop` in the same task. Somebody else's cancellation always
    wins, whichever came first.

    A loop that was held up finds the inner limit over before it has looked for the bytes that came meanwhile:
    it looks for as long as it was late by, once for each `watch`.
    """

    _clock: Clock
    _until: float = _NEVER
    _outer: type[GatewayError] | None = None
    _task: asyncio.Task[Any] | None = None
    _cancelling: int = 0
    _timer: Timer | None = None
    _due: float = 0.0
    _since: float = 0.0
    _span: float = _NEVER
    _spared: bool = False
    _inner: type[GatewayError] | None = None
    _over: type[GatewayError] | None = None

    def start(self) -> None:
        """Bind the running task. Raises RuntimeError outside of one."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to bind")
        self._task = task
        self._cancelling = task.cancelling()
        if self._until < _NEVER:
            self._arm(self._clock.monotonic())

    def until(self, at: float, error: type[GatewayError]) -> None:
        """The outer limit: a monotonic time."""
        self._until, self._outer = at, error
        self._arm(self._clock.monotonic())

    def watch(self, seconds: float | None, error: type[GatewayError]) -> None:
        """The inner limit, counted from now, in place of the one before; None for no inner limit."""
        now = self._clock.monotonic()
        self._since, self._span, self._inner = now, _NEVER if seconds is None else seconds, error
        self._spared = False
        self._arm(now)

    def touch(self, now: float) -> None:
        """Count the inner limit from `now`; the timer finds out when it fires."""
        self._since = now

    def verdict(self) -> GatewayError | None:
        """For whoever caught a CancelledError: the error of the limit that is over, if nothing else cancelled.

        Gives the answer once; the cancellation is taken back then.
        """
        if self._over is None or self._task is None:
            return None
        over, self._over = self._over, None
        return over() if self._task.uncancel() <= self._cancelling else None

    def stop(self) -> None:
        """Idempotent; a cancellation of ours that nobody asked about is taken back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._over is not None:
            self.verdict()
        self._task = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        verdict = self.verdict() if isinstance(error, asyncio.CancelledError) else None
        self.stop()
        if verdict is not None:
            raise verdict from error

    def _arm(self, now: float) -> None:
        """A timer that is due too early is left to find out by itself."""
        wait = min(self._until, self._since + self._span) - now
        if self._task is None or wait == _NEVER:
            return
        if wait > STRIDE:
            wait = STRIDE
        elif wait < 0:
            wait = 0.0
        if self._timer is not None:
            if self._due <= now + wait:
                return
            self._timer.cancel()
        self._due = now + wait
        self._timer = self._clock.call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        inner = self._since + self._span
        late = now - self._due
        if inner <= now and late > LATE and not self._spared:
            self._spared = True
            self._since = now - max(0.0, self._span - late)
            inner = self._since + self._span
        if self._task is None or now < min(self._until, inner):
            self._arm(now)
            return
        self._over = self._inner if inner < self._until else self._outer
        self._task.cancel()
