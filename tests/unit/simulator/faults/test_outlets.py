from __future__ import annotations

import asyncio

from app.simulator.faults.outlets import Coalesced, Dripping, fragments, head_only, inside_characters

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class FakeLine:
    writable = True

    def __init__(self, loop=None) -> None:
        self.loop = loop
        self.written: list[bytes] = []

    def write(self, raw: bytes) -> None:
        self.written.append(raw)

    def close(self) -> None:
        self.written.append(b"close")


def test_events_are_held_back_until_there_are_enough():
    line = FakeLine()
    outlet = Coalesced(line, 2)
    for raw in (HEAD, b"a", b"b", b"c"):
        outlet.write(raw)
    assert line.written == [HEAD, b"ab"]
    outlet.drain(line.close)
    assert line.written == [HEAD, b"ab", b"c", b"close"]
    outlet.drain(line.close)
    assert line.written[-2:] == [b"close", b"close"]


async def test_pieces_leave_one_by_one_and_the_end_after_them():
    line = FakeLine(asyncio.get_running_loop())
    outlet = Dripping(line, fragments(2), 0.0)
    outlet.write(b"abcde")
    outlet.write(b"f")
    over = asyncio.Event()
    outlet.drain(over.set)
    assert line.written == [b"ab"]
    await asyncio.wait_for(over.wait(), 1)
    assert line.written == [b"ab", b"cd", b"e", b"f"]


def test_characters_are_cut_after_their_first_byte():
    assert inside_characters("aä你b".encode()) == [b"a\xc3", b"\xa4\xe4", b"\xbd\xa0b"]


def test_only_heads_are_cut_into_bytes():
    assert head_only(b"event") == [b"event"]
    assert head_only(HEAD) == [bytes((value,)) for value in HEAD]
    assert head_only(HEAD + b"body")[-1] == b"body"
