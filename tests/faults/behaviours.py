"""What a faulty endpoint does; each is named for it and handles one request."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.faultserver import Behaviour, Peer

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\n"
SSE = OK + b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
ANSWER = b'{"object": "chat.completion"}'
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    """A complete JSON answer."""
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
    return head % (status, extra, len(body)) + body


def saying(*parts: bytes) -> Behaviour:
    """Writes exactly this and goes on to the next request."""

    async def behave(peer: Peer) -> None:
        await peer.send(*parts)

    return behave


def saying_then_fin(*parts: bytes) -> Behaviour:
    async def behave(peer: Peer) -> None:
        await peer.send(*parts)
        peer.close()

    return behave


def saying_then_rst(*parts: bytes) -> Behaviour:
    """The reset follows once the other side had time to read what was said."""

    async def behave(peer: Peer) -> None:
        await peer.send(*parts)
        await asyncio.sleep(0.05)
        peer.reset()

    return behave


def saying_then_silence(*parts: bytes) -> Behaviour:
    """Says this, then nothing, until the other side leaves."""

    async def behave(peer: Peer) -> None:
        await peer.send(*parts)
        await peer.gone()

    return behave


def dripping(raw: bytes, pause: float = 0.0) -> Behaviour:
    """One byte per write."""

    async def behave(peer: Peer) -> None:
        for index in range(len(raw)):
            await peer.send(raw[index : index + 1])
            await asyncio.sleep(pause)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first for the first request of the server, and so on; the last for all that follow."""
    left = list(behaviours)

    async def behave(peer: Peer) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(peer)

    return behave


def flooding(head: bytes, piece: bytes) -> Behaviour:
    """The head, then pieces for as long as the other side takes them."""

    async def behave(peer: Peer) -> None:
        await peer.send(head)
        while True:
            await peer.send(piece)

    return behave


async def answers(peer: Peer) -> None:
    await peer.send(whole(ANSWER))


async def streams(peer: Peer) -> None:
    await peer.send(SSE, chunk(EVENT), chunk(b"data: [DONE]\n\n"), END)


async def never_answers(peer: Peer) -> None:
    await peer.gone()


async def closes_at_once(peer: Peer) -> None:
    peer.close()


async def resets_at_once(peer: Peer) -> None:
    peer.reset()


async def answers_with_a_bomb(peer: Peer) -> None:
    """30 MB of zeros in 30 KB."""
    await peer.send(whole(gzip.compress(bytes(30_000_000)), extra=b"content-encoding: gzip\r\n"))
