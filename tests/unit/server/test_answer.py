"""Answers on the wire: framing, the promise of a length, and heads nothing can break out of."""

from __future__ import annotations

import asyncio

import pytest

from app.server.answer import Answer, CloseDelimited


class Wire:
    """A transport and its flow, as far as an answer uses them."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False
        self.write_paused = False
        self.drained = 0

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    async def drain(self) -> None:
        self.drained += 1


def answer(kind=Answer, *, method="POST", keep_alive=True):
    wire = Wire()
    done = []
    made = kind(
        scope={"method": method},
        transport=wire,
        flow=wire,
        logger=None,
        access_logger=None,
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: done.append(True),
    )
    return made, wire, done


def start(status=200, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data=b"", *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_a_known_length_is_kept():
    made, wire, done = answer()
    await made.send(start(200, (b"content-length", b"2")))
    await made.send(body(b"hi"))
    assert wire.sent == b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nhi"
    assert (done, wire.closed, made.response_complete) == ([True], False, True)


@pytest.mark.parametrize(("data", "word"), [(b"too long", "longer"), (b"s", "shorter")])
async def test_a_broken_length_is_an_error(data, word):
    made, _, done = answer()
    await made.send(start(200, (b"content-length", b"2")))
    with pytest.raises(RuntimeError, match=word):
        await made.send(body(data))
    assert done == []


async def test_without_a_length_chunks_are_sent_and_ended():
    made, wire, _ = answer()
    await made.send(start())
    await made.send(body(b"one", more=True))
    await made.send(body(b"", more=True))
    await made.send(body(b"two"))
    assert wire.sent.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_an_empty_last_chunk_only_ends():
    made, wire, _ = answer()
    await made.send(start())
    await made.send(body(b""))
    assert wire.sent.endswith(b"\r\n\r\n0\r\n\r\n")


async def test_an_answer_without_a_body_has_no_framing():
    made, wire, _ = answer()
    await made.send(start(204))
    await made.send(body())
    assert b"transfer-encoding" not in wire.sent


async def test_an_answer_to_head_sends_no_body():
    made, wire, _ = answer(method="HEAD")
    await made.send(start(200, (b"content-length", b"5")))
    await made.send(body(b"hello"))
    assert wire.sent.endswith(b"content-length: 5\r\n\r\n")


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_connection_that_will_close_says_so_once(keep_alive):
    made, wire, _ = answer(keep_alive=keep_alive)
    await made.send(start(200, (b"content-length", b"0"), (b"connection", b"Close")))
    await made.send(body())
    assert wire.sent.count(b"connection: close\r\n") == 1
    assert wire.closed


async def test_another_connection_header_passes():
    made, wire, _ = answer()
    await made.send(start(200, (b"content-length", b"0"), (b"connection", b"keep-alive")))
    assert b"connection: keep-alive\r\n" in wire.sent


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x", b"a\nb", b"a\rb"])
async def test_nothing_breaks_out_of_a_header(value):
    made, wire, _ = answer()
    with pytest.raises(RuntimeError, match="line break"):
        await made.send(start(200, (b"x-model", value)))
    assert wire.sent == b""


async def test_a_head_comes_once_and_first():
    made, _, _ = answer()
    with pytest.raises(RuntimeError, match="after its head"):
        await made.send(body(b"x"))
    await made.send(start())
    with pytest.raises(RuntimeError, match="one head"):
        await made.send(start())
    await made.send(body())
    with pytest.raises(RuntimeError, match="before its end"):
        await made.send(body())


async def test_a_full_peer_is_waited_for_and_a_gone_one_is_not():
    made, wire, _ = answer()
    wire.write_paused = True
    await made.send(start())
    assert wire.drained == 1
    made.disconnected = True
    await made.send(body(b"unseen"))
    assert (wire.drained, b"unseen" in wire.sent) == (1, False)


async def test_http_1_0_ends_with_the_connection():
    made, wire, _ = answer(CloseDelimited, keep_alive=False)
    await made.send(start())
    await made.send(body(b"one", more=True))
    await made.send(body(b"two"))
    assert wire.sent.endswith(b"connection: close\r\n\r\nonetwo")
    assert wire.closed
