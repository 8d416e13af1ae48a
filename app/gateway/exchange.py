"""The body of a reply on its way to the caller; its end settles the call.

A JSON answer has been read whole when the exchange begins. A stream is relayed as it comes, but its end
marker leaves only after the model is known to have finished and the row is durable.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from app.core.failures import EndpointError, IdleTimeout, StreamBroken, TotalTimeout
from app.core.outcome import Outcome
from app.resilience.classify import classify_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.outcome import Usage, UsageSource
    from app.core.ports import Endpoint
    from app.core.reply import Body, Straight
    from app.resilience.deadline import Deadline
    from app.wire.reply import JsonAnswer
    from app.wire.stream import StreamReader

EVENT_STREAM = MappingProxyType({"content-type": "text/event-stream; charset=utf-8"})
"""The headers of a stream, also of one that is opened before its first event."""

LINGER = 1.0
"""Seconds an endpoint has to end its body after the end marker, for the connection to be kept."""


async def linger(body: Body) -> None:
    """Let the endpoint end its body, so that the connection can be used again."""
    if body.ended:
        return
    try:
        async with asyncio.timeout(LINGER):
            if await body.read():
                body.close()
    except (EndpointError, TimeoutError):
        body.close()


class End(Protocol):
    """What an exchange tells how it ended, once; a call's own, or that of a part of it."""

    call: Call

    @property
    def deadline(self) -> Deadline: ...

    @property
    def reached(self) -> bool: ...

    def succeed(self, usage: Usage, source: UsageSource, finish: str | None) -> Awaitable[None] | None: ...

    def fail(self, error: EndpointError, usage: Usage, source: UsageSource) -> None: ...

    def abandon(self, usage: Usage, source: UsageSource) -> None: ...


class JsonExchange:
    """One chunk, handed over once the row is durable."""

    def __init__(self, answer: JsonAnswer) -> None:
        self.headers = {"content-type": "application/json", "content-length": str(len(answer.raw))}
        self._answer = answer
        self._ending: End | None = None
        self.ended = False

    def begin(self, ending: End) -> None:
        self._ending = ending

    async def read(self) -> bytes:
        if self.ended or self._ending is None:
            return b""
        self.ended = True
        answer = self._answer
        durable = self._ending.succeed(answer.usage, answer.usage_source, answer.finish)
        if durable is not None:
            await durable
        return answer.raw

    def close(self) -> None:
        if self._ending is not None and not self._ending.reached:
            self._ending.abandon(self._answer.usage, self._answer.usage_source)


class StreamExchange:
    """Events as they come; raises what went wrong, never ends quietly before the model did."""

    headers: Mapping[str, str] = EVENT_STREAM

    def __init__(
        self,
        reader: StreamReader,
        body: Body,
        first: bytes,
        endpoint: Endpoint,
        idle: float,
        clock: Clock,
    ) -> None:
        """`idle` bounds the silence of the endpoint from `begin` on, in seconds."""
        self._reader = reader
        self._body = body
        self._first = first
        self._endpoint = endpoint
        self._idle = idle
        self._clock = clock
        self._ending: End | None = None
        self._heard = clock.monotonic()
        self.ended = False
        self._waiting = False
        self._straight: Straight | None = None

    def begin(self, ending: End) -> None:
        self._ending = ending
        self._call = ending.call
        self._deadline = ending.deadline
        self._deadline.watch(self._idle, IdleTimeout)

    def relay(self, straight: Straight) -> None:
        """Ordinary events go `straight` to the caller while `read` waits; it returns all others."""
        self._straight = straight
        self._body.divert(self._relayed)

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self.ended:
            return b""
        reader, body, endpoint, deadline = self._reader, self._body, self._endpoint, self._deadline
        try:
            while not reader.ended:
                self._waiting = True
                chunk = await body.read()
                self._waiting = False
                if not chunk:
                    break
                self._heard = endpoint.progressed_at = now = self._clock.monotonic()
                deadline.touch(now)
                out = reader.feed(chunk)
                if out:
                    return out
            return await self._finish()
        except EndpointError as error:
            broken = error if isinstance(error, StreamBroken) else StreamBroken(reason=error.reason)
            self.fail(broken)
            raise broken from error
        except asyncio.CancelledError:
            over = deadline.verdict()
            if not isinstance(over, EndpointError):
                raise
            if isinstance(over, IdleTimeout) and endpoint.progressed_at > self._heard:
                over.outcome = Outcome.IGNORED
            self.fail(over)
            raise over from None

    def _relayed(self, chunk: bytes) -> bool:
        straight = self._straight
        if straight is None or not self._waiting or not straight.ready():
            return False
        event = self._reader.splice(chunk)
        if event is None:
            return False
        self._heard = self._endpoint.progressed_at = now = self._clock.monotonic()
        self._deadline.touch(now)
        self._call.body_bytes_sent += len(event)
        straight.write(event)
        return True

    async def _finish(self) -> bytes:
        self.ended = True
        reader = self._reader
        if not reader.complete:
            if reader.error is not None:
                raise StreamBroken(reason="in_band", died=classify_event(reader.error).died)
            aborted = reader.finish == "abort"
            raise StreamBroken(reason="abort" if aborted else "unfinished", draining=aborted)
        durable = None
        if self._ending is not None:
            durable = self._ending.succeed(reader.usage, reader.usage_source, reader.finish)
        await linger(self._body)
        if durable is not None:
            await durable
        return reader.end()

    def fail(self, error: EndpointError) -> None:
        """The stream is of no use any more; the call's end hears of it."""
        self.ended = True
        self._body.close()
        ending = self._ending
        if ending is None or ending.reached:
            return
        if not isinstance(error, TotalTimeout):
            self._endpoint.learn(ending.call, error)
        ending.fail(error, self._reader.usage, self._reader.usage_source)

    def close(self) -> None:
        """The caller is served or gone; in the latter case the engine stops now."""
        self.ended = True
        self._straight = None
        self._body.close()
        if self._ending is not None and not self._ending.reached:
            self._ending.abandon(self._reader.usage, self._reader.usage_source)
