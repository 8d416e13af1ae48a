"""One try at one endpoint: send the call and read up to the commit point.

The commit point is the first useful event of a stream, or the whole of a JSON answer: until then nothing
has reached the caller, and every failure may still be mended elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.failures import EndpointError, EndpointRejected, FirstByteTimeout
from app.core.outcome import Outcome
from app.gateway.asking import Asker
from app.gateway.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.errors import GatewayError
    from app.core.ports import Endpoint, Pool, Transport
    from app.core.reply import Outbound
    from app.gateway.asking import Asking
    from app.gateway.catalog import Model
    from app.gateway.exchange import JsonExchange, StreamExchange
    from app.gateway.outbound import Outbounds
    from app.resilience.deadline import Deadline, TimeoutOptions


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
        self._asker = Asker(clock)

    async def send(
        self, call: Call, model: Model, pool: Pool, endpoint: Endpoint, deadline: Deadline
    ) -> StreamExchange | JsonExchange:
        """Raises EndpointError before the commit point; the connection is gone then.

        An endpoint that does not understand how usage is asked for is asked again, for less.
        """
        spec = endpoint.spec
        timeouts = self._timeouts(model.name, spec.name)
        served = pool.served_name(endpoint)
        call.endpoint, call.served_model = spec.name, served
        asking = self._asker.ask(call, model, spec)
        understood = True
        while True:
            outbound = self._outbounds.build(call, model, spec, served, asking)
            try:
                exchange = await self._ask(call, endpoint, deadline, timeouts, outbound, asking)
            except EndpointRejected as refusal:
                less = self._asker.ask_less(call, model, asking, refusal)
                if less is None:
                    raise
                asking, understood = less, False
            else:
                if not understood:
                    self._asker.learn(spec, asking.usage)
                elif asking.assembled and not _told(call):
                    self._asker.learn(spec, "none")
                return exchange

    def rehearse(self, call: Call, model: Model, pool: Pool, endpoint: Endpoint) -> Outbound:
        """What would be sent; the call is one that nobody serves."""
        asking = self._asker.ask(call, model, endpoint.spec)
        return self._outbounds.build(call, model, endpoint.spec, pool.served_name(endpoint), asking)

    async def _ask(
        self,
        call: Call,
        endpoint: Endpoint,
        deadline: Deadline,
        timeouts: TimeoutOptions,
        outbound: Outbound,
        asking: Asking,
    ) -> StreamExchange | JsonExchange:
        sent = self._clock.monotonic()
        call.metered = None
        if call.streams:
            deadline.watch(timeouts.first_byte_for(call.prompt_estimate), FirstByteTimeout)
        reception: Reception | None = None
        try:
            reply = await self._transport.send(outbound, endpoint.spec, timeouts.connect)
            reception = Reception(call, endpoint, reply, deadline, self._clock)
            if reply.status != 200:
                await reception.refuse()
            if call.streams:
                return await reception.stream(timeouts.idle)
            if asking.assembled:
                return await reception.assembled(timeouts.idle)
            return await reception.whole()
        except BaseException as error:
            if reception is not None:
                reception.close()
                sent = reception.heard or sent
            deadline.watch(None, FirstByteTimeout)
            failure = deadline.verdict() if isinstance(error, asyncio.CancelledError) else None
            if failure is None:
                raise
            self._blame(failure, endpoint, sent)
            raise failure from None

    @staticmethod
    def _blame(failure: GatewayError, endpoint: Endpoint, since: float) -> None:
        """A silent endpoint that moved for somebody else meanwhile is slow, not broken."""
        if isinstance(failure, EndpointError) and endpoint.progressed_at > since:
            failure.outcome = Outcome.IGNORED


def _told(call: Call) -> bool:
    """Whether the endpoint said what the answer took, be it the truth or not."""
    metered = call.metered
    return metered is None or metered.suspect or metered.usage_source == "upstream"
