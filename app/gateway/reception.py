"""Reads an endpoint's reply up to the commit point: a stream's first useful event, or the whole of a JSON answer.

What comes before that event is held: an engine that sends the role at once, before it has begun, is still
one that has not answered, and when it fails the call starts anew elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    EndpointFailed,
    FirstByteTimeout,
    IdleTimeout,
    StreamBroken,
)
from app.gateway.exchange import JsonExchange, StreamExchange, linger
from app.resilience.classify import classify_event, classify_head
from app.wire.assembly import Assembly
from app.wire.reply import read_reply
from app.wire.sse import MAX_EVENT
from app.wire.stream import StreamReader

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.ports import Endpoint
    from app.core.reply import Body, Reply
    from app.resilience.deadline import Deadline
    from app.wire.reply import JsonAnswer

ERROR_BODY = 256 * 1024
"""Bytes of an endpoint's error answer that are read."""

MAX_HELD = 4 * MAX_EVENT
"""Bytes of events before the first useful one; a response's first events repeat all of the instructions."""


class Reception(Struct, eq=False):
    """One reply to one call. What it has metered is on the call, also when it raises.

    `heard` is when the latest bytes of a stream that had begun came, in monotonic time.
    """

    _call: Call
    _endpoint: Endpoint
    _reply: Reply
    _deadline: Deadline
    _clock: Clock
    heard: float | None = None

    def __repr__(self) -> str:
        return f"<Reception of {self._call.id}>"

    def close(self) -> None:
        """Drops the connection, unless the body had ended."""
        self._reply.body.close()

    async def refuse(self) -> None:
        """Raises what the status means, which is any other than 200.

        A stream's 200 is no progress: the server says so before the engine has heard of the call.
        """
        reply = self._reply
        self._endpoint.progressed_at = self._clock.monotonic()
        raw = await _read_error(reply.body)
        error = classify_head(reply.status, reply.headers, raw)
        raise error or BadUpstream()

    async def whole(self) -> JsonExchange:
        """A JSON answer."""
        call, body = self._call, self._reply.body
        try:
            parts = [await body.read()]
            while not body.ended:
                parts.append(await body.read())
        except StreamBroken as error:
            raise ClosedEarly from error
        answer = read_reply(
            call.surface,
            b"".join(parts),
            model=call.model,
            prompt_estimate=call.prompt_estimate,
            completion_limit=call.completion_limit,
        )
        return self._committed(answer)

    async def stream(self, idle: float) -> StreamExchange:
        """A stream that has begun; `idle` bounds its silence once the exchange begins."""
        if not self._streams:
            raise BadUpstream
        reader = self._reader(None)
        first = await self._begun(reader)
        return StreamExchange(reader, self._reply.body, first, self._endpoint, idle, self._clock)

    async def assembled(self, idle: float) -> JsonExchange:
        """The JSON answer that a stream amounts to; once it has begun, `idle` bounds its silence."""
        if not self._streams:
            return await self.whole()
        assembly = Assembly(self._call.surface.dialect, self._call.body)
        reader = self._reader(assembly)
        await self._begun(reader)
        self._deadline.watch(idle, IdleTimeout)
        while not reader.ended:
            await self._feed(reader)
            self._deadline.touch(self._endpoint.progressed_at)
        self._deadline.watch(None, FirstByteTimeout)
        if reader.complete:
            await linger(self._reply.body)
        return self._committed(assembly.answer(reader, self._call.model))

    @property
    def _streams(self) -> bool:
        return self._reply.headers.get("content-type", "").startswith("text/event-stream")

    def _reader(self, assembly: Assembly | None) -> StreamReader:
        call = self._call
        reader = StreamReader(
            call.surface,
            model=call.model,
            usage=call.usage_wanted,
            n=call.n,
            prompts=call.prompts,
            prompt_estimate=call.prompt_estimate,
            completion_limit=call.completion_limit,
            assembly=assembly,
        )
        call.metered = reader
        return reader

    async def _begun(self, reader: StreamReader) -> bytes:
        """The caller's bytes up to the first useful event, once that has come."""
        held = await self._feed(reader)
        while not reader.started:
            if reader.ended or reader.finish is not None:  # thrown away unanswered, as at shutdown
                raise EndpointFailed(draining=reader.finish == "abort")
            if len(held) > MAX_HELD:
                raise BadUpstream
            held += await self._feed(reader)
        return held

    async def _feed(self, reader: StreamReader) -> bytes:
        """Reads on; the caller's bytes, maybe none. Every end but the stream's own raises."""
        try:
            chunk = await self._reply.body.read()
        except StreamBroken as error:
            raise ClosedEarly from error
        if not chunk:
            raise ClosedEarly
        try:
            passed = reader.feed(chunk)
        except StreamBroken as error:
            raise BadUpstream from error
        if reader.error is not None:
            raise classify_event(reader.error)
        if reader.started:
            self.heard = self._endpoint.progressed_at = self._clock.monotonic()
        return passed

    def _committed(self, answer: JsonAnswer) -> JsonExchange:
        self._call.metered = answer
        if not answer.complete:
            raise EndpointFailed(draining=answer.finish == "abort")
        self._endpoint.progressed_at = self._clock.monotonic()
        return JsonExchange(answer)


async def _read_error(body: Body) -> bytes:
    """An error answer, as far as it is read."""
    raw = await body.read()
    while raw and (chunk := await body.read()):
        raw += chunk
        if len(raw) > ERROR_BODY:
            break
    return raw
