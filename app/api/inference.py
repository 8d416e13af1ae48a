"""The one handler of every surface: who are you, what do you want; the rest is the line's."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from app.api.identity import client_request_id, find, new_call_id, secret_of
from app.api.intake import check_media_type, headers_of, read_body
from app.api.relay import Relay
from app.api.watch import watch_for
from app.core.call import Call
from app.core.errors import CallerGone, GatewayError, InvalidRequest, ShuttingDown
from app.core.tenant import NOBODY
from app.wire.body import decode
from app.wire.request import read
from app.wire.surfaces import SURFACES
from app.wire.tokens import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from app.core.clock import Clock
    from app.core.ports import InFlight, KeyDirectory, Observer
    from app.core.reply import Way
    from app.gateway.catalog import Model
    from app.gateway.serve import Gateway
    from app.resilience.shedding import Shedding
    from app.wire.learnt import Prompts
    from app.wire.request import Policy

logger = logging.getLogger(__name__)

LARGE = 2**20
"""Bytes of a body whose steps have a turn of the event loop each."""

TRAVELLING = (b"traceparent", b"tracestate")
"""Headers of the caller that go on to the endpoint."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What the handler must know of the server; sizes in bytes, times in seconds."""

    max_body: int
    commit_after: float
    ping: float
    expose_endpoint: bool
    session_header: str
    admitting: Callable[[], bool]
    client_of: Callable[[Scope], str]


class Inference:
    """An ASGI application for POST on the surfaces' paths; never raises."""

    def __init__(
        self,
        gateway: Gateway,
        keys: KeyDirectory,
        policy: Policy,
        edge: Edge,
        inflight: InFlight,
        observer: Observer,
        prompts: Prompts,
        shedding: Shedding,
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._keys = keys
        self._policy = policy
        self._edge = edge
        self._inflight = inflight
        self._observer = observer
        self._prompts = prompts
        self._shedding = shedding
        self._clock = clock
        self._session_header = edge.session_header.encode()
        self.paths = {path.encode(): surface for path, surface in SURFACES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        call = self._arrived(scope, headers)
        watch = watch_for(scope, receive)
        release = self._shedding.release
        relay = Relay(call, self._edge, self._inflight, self._clock, watch, send, release)
        try:
            model = await self._admit(call, headers, watch.straight, receive)
        except CallerGone as error:
            self._observer.rejected(call, error)
        except GatewayError as error:
            self._observer.rejected(call, error)
            await relay.refuse(error)
        except Exception:
            logger.exception("a bug before call %s was admitted", call.id)
            bug = GatewayError()
            self._observer.rejected(call, bug)
            await relay.refuse(bug)
        else:
            await relay.run(self._gateway, model)
        finally:
            release(call)

    def _arrived(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Call:
        now = self._clock.monotonic()
        session = headers.get(self._session_header)
        call = Call(
            id=new_call_id(),
            surface=self.paths[scope["raw_path"]],
            model="",
            body={},
            key=NOBODY,
            arrived=now,
            started_at=self._clock.time(),
            deadline=inf,
            client_request_id=client_request_id(headers),
            remote_addr=self._edge.client_of(scope),
            user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
            referer=headers.get(b"referer", b"").decode("latin-1"),
            session=None if session is None else session.decode("latin-1"),
        )
        if not headers.keys().isdisjoint(TRAVELLING):
            travel = [name for name in TRAVELLING if name in headers]
            call.headers = {name.decode(): headers[name].decode("latin-1") for name in travel}
        return call

    async def _admit(
        self, call: Call, headers: Mapping[bytes, bytes], straight: Way | None, receive: Receive
    ) -> Model:
        """Fill in who calls and what is wanted. Raises GatewayError."""
        if not self._edge.admitting():
            raise ShuttingDown
        secret = secret_of(headers)
        call.key = self._keys.known(secret) or await find(secret, self._keys)
        shedding = self._shedding
        shedding.admit(call.key.tenant.priority)
        check_media_type(headers)
        raw = None if straight is None else straight.body()
        if raw is None:
            raw = await read_body(receive, headers, self._edge.max_body, partial(shedding.hold, call))
        else:
            shedding.hold(call, len(raw))
        call.body = decode(raw)
        if len(raw) > LARGE:
            await asyncio.sleep(0)  # others first: measuring it is as much work as decoding it
        params = read(call.surface, call.body, self._policy)
        catalog = self._gateway.catalog
        model = catalog.resolve(params.model, call.key)
        call.model = params.model or model.name
        call.target = model.name
        call.streams = params.stream
        call.usage_wanted = params.usage_wanted
        call.n, call.prompts = params.n, params.prompts
        call.completion_limit = params.completion_limit
        call.measure = measure(call.surface, call.body)
        call.prompt_estimate = self._prompts.tokens(model.name, call.measure)
        if call.completion_limit is None and call.key.tenant.strict:
            call.completion_limit = catalog.longest_answer(call, model)
        if b"x-request-timeout-ms" in headers:
            call.deadline = call.arrived + _patience(headers[b"x-request-timeout-ms"])
        return model


def _patience(given: bytes) -> float:
    """A caller's own limit, in seconds; it can only shorten what the configuration allows."""
    if not (given.isdigit() and given.strip(b"0")):
        raise InvalidRequest("Give x-request-timeout-ms as a whole number of milliseconds.")
    return float(given) / 1000
