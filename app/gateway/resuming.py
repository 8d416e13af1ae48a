"""A stream that goes on at another endpoint when its own breaks off, as if nothing had happened.

Stands between the exchange with each endpoint and the end of the call: to the former it is the call's end, to
the caller it is the exchange. What the caller has seen is known from the bytes it was given.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from app.core.errors import GatewayError
from app.core.failures import (
    EndpointError,
    IdleTimeout,
    StreamBroken,
    UpstreamTimeout,
)
from app.core.outcome import NO_USAGE, Outcome, Settlement
from app.gateway.exchange import EVENT_STREAM
from app.gateway.joint import JointMeter, joined
from app.gateway.trials import Trials
from app.wire.continuation import continuation, tokens_left
from app.wire.delivered import Delivered
from app.wire.resumable import at_a_stop, refusal
from app.wire.seam import MISFIT, Seam, closing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from app.core.call import Call
    from app.core.outcome import Usage, UsageSource
    from app.core.ports import Observer, Pool
    from app.gateway.catalog import Model
    from app.gateway.dispatch import Dispatch
    from app.gateway.ending import Ending
    from app.gateway.exchange import StreamExchange
    from app.resilience.deadline import Deadline


class Resuming:
    """One call's stream. Nothing of what was delivered is read until an endpoint fails."""

    headers: Mapping[str, str] = EVENT_STREAM

    def __init__(
        self,
        exchange: StreamExchange,
        call: Call,
        model: Model,
        pool: Pool,
        dispatch: Dispatch,
        observer: Observer,
    ) -> None:
        self.call = call
        self._exchange: StreamExchange | None = exchange
        self._model = model
        self._pool = pool
        self._dispatch = dispatch
        self._observer = observer
        self._body: Mapping[str, Any] = {**model.defaults, **call.body}
        self._refused = refusal(call.surface.dialect, self._body)
        self._delivered = Delivered()
        self._seam: Seam | None = None
        self._usage: Usage = NO_USAGE
        self._source: UsageSource = "estimated"
        self._trials = Trials()
        self._ending: Ending

    def begin(self, ending: Ending) -> None:
        self._ending = ending
        if self._exchange is not None:
            self._exchange.begin(self)

    async def read(self) -> bytes:
        """As an exchange does; raises what broke the answer off when nobody carries it on."""
        while self._exchange is not None:
            try:
                events = await self._exchange.read()
                if not events:
                    break
                if self._seam is not None:
                    events = self._join(self._exchange, self._seam, events)
            except EndpointError as error:
                events = await self._carry_on(error)
            if events:
                if self._refused is None:
                    self._delivered.note(events)
                return events
        return b""

    def close(self) -> None:
        """The caller is served or gone."""
        if self._exchange is not None:
            self._exchange.close()
        elif not self._ending.reached:
            self._ending.abandon(self._usage, self._source)

    @property
    def ended(self) -> bool:
        return self._exchange is None or self._exchange.ended

    @property
    def reached(self) -> bool:
        return self._ending.reached

    @property
    def deadline(self) -> Deadline:
        return self._ending.deadline

    def succeed(self, usage: Usage, source: UsageSource, finish: str | None) -> Awaitable[None] | None:
        return self._ending.succeed(*joined(self._usage, self._source, usage, source), finish)

    def fail(self, error: EndpointError, usage: Usage, source: UsageSource) -> None:
        """The exchange is over; `read` decides what that means for the call."""
        self._exchange = None
        self._usage, self._source = joined(self._usage, self._source, usage, source)

    def abandon(self, usage: Usage, source: UsageSource) -> None:
        self._ending.abandon(*joined(self._usage, self._source, usage, source))

    @staticmethod
    def _join(exchange: StreamExchange, seam: Seam, events: bytes) -> bytes:
        try:
            return seam.join(events)
        except StreamBroken as error:
            if error.reason == MISFIT:
                error.outcome = Outcome.IGNORED
            exchange.fail(error)
            raise

    async def _carry_on(self, error: EndpointError) -> bytes:
        """What is left to say where the model had finished; nothing where another endpoint goes on.

        Raises the error, with the call settled, where neither can be.
        """
        if self._exchange is not None or self._ending.reached:
            raise error
        finish = self._delivered.finish
        if finish is None and not self._fit(error):
            self._observer.resumed(self.call, "refused")
            self._give_up(error)
        left = tokens_left(self._body, self._usage.completion)
        self._ending.release(self._broken_off(error))
        if finish is not None or (left is not None and left <= 0):
            return await self._conclude(finish)
        await self._elsewhere(error)
        return b""

    def _fit(self, error: EndpointError) -> bool:
        """Whether what the endpoint left can be carried on."""
        return (
            isinstance(error, StreamBroken | IdleTimeout)
            and error.reason != MISFIT
            and self._refused is None
            and self._delivered.text_alone
            and not self._usage.reasoning
            and not at_a_stop(self._delivered.text, self._body.get("stop"))
        )

    def _give_up(self, error: GatewayError) -> None:
        self._ending.fail(error, self._usage, self._source)
        raise error

    def _broken_off(self, error: EndpointError) -> Settlement:
        """The end of one endpoint's part; what it made is part of the call's own usage."""
        metered = self.call.metered
        return Settlement(
            error.outcome,
            status=error.status,
            elapsed=self._ending.elapsed,
            finish="timeout" if isinstance(error, UpstreamTimeout) else "cut",
            error_code=error.code,
            reason=error.reason,
            billed=False,
            suspect=metered is not None and metered.suspect,
            died=error.died,
        )

    async def _conclude(self, finish: str | None) -> bytes:
        """The model had finished, or has used what it was allowed; the end was lost, and is made up for."""
        call, delivered = self.call, self._delivered
        durable = self._ending.succeed(self._usage, self._source, finish or "length")
        self._observer.resumed(call, "resumed")
        if durable is not None:
            await durable
        return closing(
            call.surface.dialect,
            delivered.head,
            finish=None if finish else "length",
            usage=None if call.usage_wanted == "none" or delivered.usage_told else self._usage,
        )

    async def _elsewhere(self, error: EndpointError) -> None:
        """Raises what broke the stream off when no other endpoint takes it, or what ends the call meanwhile."""
        call, deadline = self.call, self._ending.deadline
        text, head = self._delivered.text, self._delivered.head
        call.asked = call.asked or call.body
        call.body, again = continuation(call.surface.dialect, self._body, text, self._usage.completion)
        self._trials.add(call, error)
        deadline.watch(None, IdleTimeout)
        pause = None if call.on_pause is None else call.on_pause()
        try:
            exchange = await self._dispatch.elsewhere(
                call, self._model, self._pool, self._ending, self._trials.endpoints, self._trials.failures
            )
        except GatewayError:
            self._observer.resumed(call, "failed")
            self._give_up(error)
        except asyncio.CancelledError:
            over = deadline.verdict()
            if over is None:
                raise
            self._observer.resumed(call, "failed")
            self._give_up(over)
        else:
            self._observer.resumed(call, "resumed")
            self._go_on(cast("StreamExchange", exchange), Seam(head, self._usage, again) if head else None)
            if pause is not None:
                await pause.finish()

    def _go_on(self, exchange: StreamExchange, seam: Seam | None) -> None:
        metered = self.call.metered
        if metered is not None:
            self.call.metered = JointMeter(self._usage, self._source, metered)
        self._seam = seam
        self._exchange = exchange
        exchange.begin(self)
