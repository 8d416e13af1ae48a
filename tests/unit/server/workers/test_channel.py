from __future__ import annotations

import socket

from app.server.workers.channel import Channel
from tests.clock import settle


async def pair():
    ours, theirs = socket.socketpair()
    return await Channel.over(ours), await Channel.over(theirs)


async def test_messages_arrive_whole_and_in_order():
    one, other = await pair()
    sent = ["a", {"b": b"x" * 3_000_000}, None, ("c", 1)]
    for message in [each for each in sent if each is not None]:
        one.send(message)
    assert [await other.receive() for _ in range(3)] == [each for each in sent if each is not None]
    other.send("back")
    assert await one.receive() == "back"
    one.close()
    other.close()
    await settle()


async def test_an_end_that_closed_is_heard_of_and_can_be_spoken_to_in_vain():
    one, other = await pair()
    one.send("last")
    one.close()
    assert [await other.receive(), await other.receive()] == ["last", None]
    other.send("nobody hears this")
    other.close()
    other.send("nor this")
    await settle()
