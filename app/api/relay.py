"""One answer to one caller: watches for its hang-up, commits late, ends truthfully."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from app.api.opening import Opening
from app.core.errors import CallerGone, GatewayError
from app.gateway.exchange import EVENT_STREAM, StreamExchange
from app.tenancy.headers import ratelimit_headers
from app.wire.errors import error_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Send

    from app.api.inference import Edge
    from app.api.watch import Watch
    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.ports import InFlight
    from app.core.reply import Served
    from app.gateway.catalog import Model
    from app.gateway.serve import Gateway

logger = logging.getLogger(__name__)

NOSNIFF = (b"x-content-type-options", b"nosniff")
UNBUFFERED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Relay(Struct, eq=False):
    """Runs in the task of its caller's connection; whoever stops the call cancels that task.

    `release` is told once the call's body is not kept any more, should that be before the call ends.
    """

    _call: Call
    _edge: Edge
    _inflight: InFlight
    _clock: Clock
    _watch: Watch
    _send: Send
    _release: Callable[[Call], object]
    _task: asyncio.Task[Any] | None = None
    _opening: Opening | None = None
    _asked: str = ""
    _started: bool = False
    _resumes: bool = False

    def __repr__(self) -> str:
        return f"<Relay of {self._call.id}>"

    async def refuse(self, error: GatewayError) -> None:
        """Answer with an error as the whole reply."""
        body = error.body()
        shape = {"content-type": "application/json", "content-length": str(len(body))}
        await self._start(error.status, {**error.headers(), **shape})
        await self._chunk(body, last=True)

    async def run(self, gateway: Gateway, model: Model) -> None:
        """A limit that is over while the caller does not take what it was sent has been told to nobody yet."""
        call = self._call
        self._task = asyncio.current_task()
        self._asked = model.name
        self._resumes = model.resume
        self._inflight.opened(call, self._stop)
        self._watch.on_hang_up(lambda: self._stop(CallerGone()))
        try:
            if call.streams:
                self._opening = self._open()
            reply = await gateway.serve(call, model)
            if not call.body:
                self._release(call)
            try:
                await self._relay(reply, self._answered())
            finally:
                reply.body.close()
        except asyncio.CancelledError:
            if call.stopped is None:
                if self._task is None or self._task.cancelling():
                    raise
                self._watch.drop()
                return
            if self._task is not None:
                self._task.uncancel()
            if not isinstance(call.stopped, CallerGone):
                await self._fail(call.stopped)
        except GatewayError as error:
            await self._fail(error)
        except Exception:
            logger.exception("a bug while serving call %s", call.id)
            await self._fail(GatewayError())
        finally:
            self._watch.on_hang_up(None)
            if self._opening is not None:
                self._opening.cancel()
            self._inflight.closed(call)

    async def _relay(self, reply: Served, headers: dict[str, str]) -> None:
        body, straight = reply.body, self._watch.straight
        chunk = await body.read()
        if self._opening is None or not await self._opening.finish():
            await self._start(200, {**reply.headers, **headers})
        if self._resumes:
            self._call.on_pause = self._pause
        if straight is not None and isinstance(body, StreamExchange):
            body.relay(straight)
        while not body.ended:
            await self._chunk(chunk)
            chunk = b""  # not kept while the next is waited for
            chunk = await body.read()
        await self._chunk(chunk, last=True)

    async def _fail(self, error: GatewayError) -> None:
        """The error's own status while nothing was sent; an event and a closed connection afterwards."""
        if self._opening is not None:
            await self._opening.finish()
        if not self._started:
            await self.refuse(error)
            return
        self._watch.close()
        await self._chunk(error_event(error), last=True)

    def _stop(self, error: GatewayError) -> None:
        if self._call.stopped is None and self._task is not None:
            self._call.stopped = error
            self._task.cancel()

    async def _send_early(self, comment: bytes) -> None:
        """Head, then comments, while a queued call waits for its first event."""
        if not self._started:
            await self._start(200, EVENT_STREAM)
        await self._chunk(comment)

    def _open(self) -> Opening:
        edge, call = self._edge, self._call
        return Opening(
            self._send_early, edge.commit_after, edge.ping, lambda: call.dispatched_at, self._clock
        )

    def _pause(self) -> Opening:
        """Comments again, while the answer is looked for elsewhere."""
        edge, call = self._edge, self._call
        self._opening = Opening(self._send_early, edge.ping, edge.ping, lambda: call.arrived, self._clock)
        return self._opening

    def _start(self, status: int, headers: Mapping[str, str]) -> Awaitable[None]:
        self._started = True
        call = self._call
        raw = [(b"x-request-id", (call.client_request_id or call.id).encode()), NOSNIFF]
        if call.streams:
            raw += UNBUFFERED
        if call.decisions:
            headers = {**headers, **ratelimit_headers(call.decisions)}
        raw += zip(map(str.encode, headers), map(str.encode, headers.values()), strict=True)
        return self._send({"type": "http.response.start", "status": status, "headers": raw})

    def _chunk(self, chunk: bytes, *, last: bool = False) -> Awaitable[None]:
        self._call.body_bytes_sent += len(chunk)
        return self._send({"type": "http.response.body", "body": chunk, "more_body": not last})

    def _answered(self) -> dict[str, str]:
        call = self._call
        headers = {}
        if call.target != self._asked:
            headers["x-sluice-model"] = call.target
        if self._edge.expose_endpoint:
            headers |= {
                "x-sluice-endpoint": call.endpoint or "",
                "x-sluice-attempts": str(len(call.attempts) + 1),
            }
        return headers
