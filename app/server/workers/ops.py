"""The operators' port of a gateway with several workers: one of them answers, or all do and it is put together.

Who may do what is the workers' business: each checks the operator's token itself.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from app.core.errors import Overloaded, RequestTooLarge
from app.server.refusal import refuse
from app.server.workers.doors import Answer, Request, Unanswered
from app.server.workers.origin import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.server.refusal import Receive, Scope, Send
    from app.server.workers.doors import Door, Reply

    Merge = Callable[[Request, Sequence[Answer]], tuple[int, bytes, bytes]]

LARGEST_BODY = 2**20
QUICK, SLOW = 2.0, 60.0
"""Patience, in seconds: with what a worker knows by heart, and with what it may have to look up."""

_ONE_HAS_IT = re.compile(r"/admin/v1/(?:inflight|requests)/[^/]+")
_LOOKED_UP = "/admin/"
_OURS = frozenset((b"connection", b"content-length", b"host", b"transfer-encoding", b"date", ORIGIN))


class OpsOfAll:
    """An ASGI application. `merges` are the paths whose GET all answer, with status, content type and body
    made of their answers; what one worker alone knows is looked for; the first ready one answers the rest.
    Those that were silent when last asked are asked last.
    """

    def __init__(self, doors: Callable[[], Sequence[Door]], merges: Mapping[str, Merge]) -> None:
        self._doors = doors
        self._merges = merges
        self._silent: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _request(scope, receive)
        if request is None:
            await refuse(RequestTooLarge(), scope, send)
            return
        merge = self._merges.get(request.path) if request.method == "GET" else None
        if merge is not None:
            await self._together(request, merge, scope, send)
        elif not await self._one(request, scope, send):
            await refuse(Overloaded("No worker of this gateway answers."), scope, send)

    async def _together(self, request: Request, merge: Merge, scope: Scope, send: Send) -> None:
        answers = await self.ask_all(request)
        refusals = [answer for answer in answers if answer.status in {400, 401, 403, 404, 429}]
        if refusals:
            worst = refusals[0]
            await _send(send, worst.status, _kept(worst.headers), worst.body)
            return
        if not answers and request.path.startswith(_LOOKED_UP):
            await refuse(Overloaded("No worker of this gateway answers."), scope, send)
            return
        status, kind, body = merge(request, answers)
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await _send(send, status, headers, body)

    async def ask_all(self, request: Request) -> list[Answer]:
        """In the order of their seats; those that do not answer are left out."""
        asked = [self._answer(door, request) for door in self._doors()]
        return [answer for answer in await asyncio.gather(*asked) if answer is not None]

    async def _one(self, request: Request, scope: Scope, send: Send) -> bool:
        """Whether anybody answered."""
        doors = sorted(self._doors(), key=lambda door: door.pid in self._silent)
        searched = _ONE_HAS_IT.fullmatch(request.path) is not None
        patience = SLOW if request.path.startswith(_LOOKED_UP) else QUICK
        for number, door in enumerate(doors, start=1):
            try:
                async with door.ask(request, patience) as reply:
                    self._silent.discard(door.pid)
                    if not (searched and reply.status == 404 and number < len(doors)):
                        await _relay(reply, scope, send)
                        return True
            except Unanswered:
                self._silent.add(door.pid)
                if request.method not in {"GET", "HEAD"} and not searched:
                    return False  # it may have been done
        return False

    async def _answer(self, door: Door, request: Request) -> Answer | None:
        try:
            async with door.ask(request, QUICK) as reply:
                body = b"".join([chunk async for chunk in reply.chunks])
                self._silent.discard(door.pid)
                return Answer(door.seat, door.pid, reply.status, reply.headers, body)
        except Unanswered:
            self._silent.add(door.pid)
            return None


async def _request(scope: Scope, receive: Receive) -> Request | None:
    """None when it is too large, or broke off."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body", False):
            break
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    connection = scope.get("extensions", {}).get("sluice")
    peer = (connection.peer if connection is not None else scope.get("client")) or ("",)
    headers = [(ORIGIN, peer[0].encode()), *_kept(scope["headers"])]
    return Request(scope["method"], scope["path"], target, headers, body)


def _kept(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in _OURS]


async def _relay(reply: Reply, scope: Scope, send: Send) -> None:
    """An answer that breaks off is closed unfinished, so that its caller sees that it is not whole; nothing
    more is fetched for one who has left.

    The head waits for the first byte of the body, or for its end: a caller may send its next request as
    soon as it has a head without a body, and that must find this one answered.
    """
    left = asyncio.Event()
    connection = scope.get("extensions", {}).get("sluice")
    if connection is not None:
        connection.on_hang_up(left.set)
    head = {"type": "http.response.start", "status": reply.status, "headers": _kept(reply.headers)}
    begun = False
    try:
        async for chunk in reply.chunks:
            if left.is_set():
                return
            if not begun:
                await send(head)
                begun = True
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Unanswered:
        if begun:
            return
        raise
    if not begun:
        await send(head)
    await send({"type": "http.response.body", "body": b""})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
