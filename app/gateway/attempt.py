"""One try at one endpoint: send the call and read up to the commit point.

The commit point is the first data event of a stream, or the whole of a JSON answer: until then nothing
has reached the caller, and every failure may still be mended elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.errors import GatewayError
from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    EndpointError,
    EndpointFailed,
    FirstByteTimeout,
    IdleTimeout,
    StreamBroken,
)
from app.core.outcome import Outcome
from app.gateway.exchange import JsonExchange, StreamExchange
from app.resilience.classify import classify_event, classify_head
from app.wire.reply import read_reply
from app.wire.stream import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.ports import Endpoint, Pool, Transport
    from app.core.reply import Body, Reply
    from app.gateway.catalog import Model
    from app.gateway.outbound import Outbounds
    from app.resilience.deadline import Deadline, TimeoutOptions

ERROR_BODY = 256 * 1024
"""Bytes of an endpoint's error answer that are read."""


class Sender:
    """Sends calls to endpoints; what it returns has committed, what it raises has not."""

    def __init__(
        self,
        transport: Transport,
        outbounds: Outbounds,
        timeouts: Callable[[str, str], TimeoutOptions],
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._outbounds = outbounds
        self._timeouts = timeouts
        self._clock = clock

    async def send(
        self, call: Call, model: Model, pool: Pool, endpoint: Endpoint, deadline: Deadline
    ) -> StreamExchange | JsonExchange:
        """Raises EndpointError before the commit point; the connection is gone then."""
        spec = endpoint.spec
        timeouts = self._timeouts(model.name, spec.name)
        served = pool.served_name(endpoint)
        call.endpoint, call.served_model = spec.name, served
        outbound = self._outbounds.build(call, model, spec, served)
        sent = self._clock.monotonic()
        if call.streams:
            deadline.watch(timeouts.first_byte_for(call.prompt_estimate), FirstByteTimeout)
        body: Body | None = None
        try:
            reply = await self._transport.send(outbound, spec, timeouts.connect)
            body = reply.body
            endpoint.progressed_at = self._clock.monotonic()
            await self._refuse(reply)
            if call.streams:
                return await self._stream(call, endpoint, reply, deadline, timeouts.idle)
            return await self._json(call, endpoint, reply)
        except BaseException as error:
            if body is not None:
                body.close()
            deadline.watch(None, FirstByteTimeout)
            failure = deadline.verdict() if isinstance(error, asyncio.CancelledError) else None
            if failure is None:
                raise
            self._blame(failure, endpoint, sent)
            raise failure from None

    async def _refuse(self, reply: Reply) -> None:
        if reply.status == 200:
            return
        raw = await _read_all(reply.body, ERROR_BODY)
        error = classify_head(reply.status, reply.headers, raw)
        raise error or BadUpstream()

    async def _json(self, call: Call, endpoint: Endpoint, reply: Reply) -> JsonExchange:
        try:
            raw = await _read_all(reply.body, None)
        except StreamBroken as error:
            raise ClosedEarly from error
        answer = read_reply(call.surface, raw, model=call.model, prompt_estimate=call.prompt_estimate)
        if not answer.complete:
            raise EndpointFailed(draining=answer.finish == "abort")
        endpoint.progressed_at = self._clock.monotonic()
        return JsonExchange(answer)

    async def _stream(
        self, call: Call, endpoint: Endpoint, reply: Reply, deadline: Deadline, idle: float
    ) -> StreamExchange:
        if not reply.headers.get("content-type", "").startswith("text/event-stream"):
            raise BadUpstream
        reader = StreamReader(
            call.surface,
            model=call.model,
            usage=call.usage_wanted,
            n=call.n,
            prompts=call.prompts,
            prompt_estimate=call.prompt_estimate,
        )
        call.metered = reader
        first = b""
        while not reader.started:
            try:
                chunk = await reply.body.read()
            except StreamBroken as error:
                raise ClosedEarly from error
            if not chunk:
                raise ClosedEarly
            endpoint.progressed_at = self._clock.monotonic()
            try:
                first = reader.feed(chunk)
            except StreamBroken as error:
                raise BadUpstream from error
            if reader.error is not None:
                raise classify_event(reader.error)
        deadline.watch(idle, IdleTimeout)
        return StreamExchange(reader, reply.body, first, endpoint, deadline, self._clock)

    @staticmethod
    def _blame(failure: GatewayError, endpoint: Endpoint, sent: float) -> None:
        """A silent endpoint that moved for somebody else meanwhile is slow, not broken."""
        if isinstance(failure, EndpointError) and endpoint.progressed_at > sent:
            failure.outcome = Outcome.IGNORED


async def _read_all(body: Body, limit: int | None) -> bytes:
    """The whole body; with a limit, its first bytes only."""
    first = await body.read()
    if not first:
        return first
    parts = [first]
    size = len(first)
    while chunk := await body.read():
        parts.append(chunk)
        size += len(chunk)
        if limit is not None and size > limit:
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)
