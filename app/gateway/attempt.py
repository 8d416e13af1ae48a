"""One try at one endpoint: send the call and read up to the commit point.

The commit point is the first useful event of a stream, or the whole of a JSON answer: until then nothing
has reached the caller, and every failure may still be mended elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.failures import EndpointError, FirstByteTimeout
from app.core.outcome import Outcome
from app.gateway.asking import Asker
from app.gateway.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.ports import Endpoint, Pool, Transport
    from app.core.reply import Outbound
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
            sent = self._clock.monotonic()
            call.metered = None
            if call.streams:
                deadline.watch(timeouts.first_byte_for(call.prompt_estimate), FirstByteTimeout)
            reception: Reception | None = None
            exchange: StreamExchange | JsonExchange
            try:
                reply = await self._transport.send(outbound, spec, timeouts.connect)
                reception = Reception(call, endpoint, reply, deadline, self._clock)
                if reply.status != 200:
                    await reception.refuse()
                if call.streams:
                    exchange = await reception.stream(timeouts.idle)
                elif asking.assembled:
                    exchange = await reception.assembled(timeouts.idle)
                else:
                    exchange = await reception.whole()
                break
            except BaseException as error:
                if reception is not None:
                    reception.close()
                    sent = reception.heard or sent
                deadline.watch(None, FirstByteTimeout)
                _raise_timeout(error, deadline, endpoint, sent)
                less = self._asker.ask_less(call, model, asking, error)
                if less is None:
                    raise
                asking, understood = less, False
        if not understood:
            self._asker.learn(spec, asking.usage)
        elif asking.assembled and not _told(call):
            self._asker.learn(spec, "none")
        return exchange

    def rehearse(self, call: Call, model: Model, pool: Pool, endpoint: Endpoint) -> Outbound:
        """What would be sent; the call is one that nobody serves."""
        asking = self._asker.ask(call, model, endpoint.spec)
        return self._outbounds.build(call, model, endpoint.spec, pool.served_name(endpoint), asking)


def _raise_timeout(error: BaseException, deadline: Deadline, endpoint: Endpoint, since: float) -> None:
    """In place of a cancellation that means it. A silent endpoint that moved for somebody else since then
    is slow, not broken.
    """
    over = deadline.verdict() if isinstance(error, asyncio.CancelledError) else None
    if over is None:
        return
    if isinstance(over, EndpointError) and endpoint.progressed_at > since:
        over.outcome = Outcome.IGNORED
    raise over from None


def _told(call: Call) -> bool:
    """Whether the endpoint said what the answer took, be it the truth or not."""
    metered = call.metered
    return metered is None or metered.suspect or metered.usage_source == "upstream"
