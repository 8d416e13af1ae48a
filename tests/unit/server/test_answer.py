"""Answers on the wire: framing, the promise of a length, and heads nothing can break out of."""

from __future__ import annotations

import asyncio

import pytest

from app.server.answer import Answer, CloseDelimited


class Wire:
    """A transport and its flow, as far as an answer uses them."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = self.aborted = False
        self.write_paused = False
        self.drained = 0
        self.resumed = 0

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None:
        self.resumed += 1

    async def drain(self) -> None:
        self.drained += 1


def answer(kind=Answer, *, method="POST", keep_alive=True):
    wire = Wire()
    done = []
    made = kind(
        {"method": method, "headers": []},
        wire,
        wire,
        [(b"date", b"today")],
        lambda: done.append(True),
        keep_alive=keep_alive,
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


async def test_a_whole_body_is_given_once():
    made, wire, _ = answer()
    made.arrived(b"one")
    assert made.body() is None
    made.arrived(b"two")
    made.more_body = False
    made.wake()
    assert made.body() == b"onetwo"
    assert made.body() is None
    assert (wire.sent, wire.resumed) == (b"", 0)


async def test_a_body_that_must_be_asked_for_or_that_nobody_waits_for_is_not_given():
    made, wire, _ = answer()
    made.arrived(b"one")
    made.more_body, made.expects_continue = False, True
    assert made.body() is None
    assert (await made.receive())["body"] == b"one"
    assert wire.sent.startswith(b"HTTP/1.1 100")
    gone, _, _ = answer()
    gone.arrived(b"one")
    gone.more_body, gone.disconnected = False, True
    assert gone.body() is None


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
    await made.send(body())
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


async def test_the_head_waits_for_the_first_bytes_of_the_body():
    made, wire, _ = answer()
    await made.send(start())
    assert wire.sent == b""
    await made.send(body(b"", more=True))
    assert wire.sent.endswith(b"chunked\r\n\r\n")


def application(*messages, error=None):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return app


@pytest.mark.parametrize(
    "app", [application(), application(start()), application(error=ValueError("secret"))]
)
async def test_an_application_that_does_not_answer_is_answered_for(app, caplog):
    made, wire, _ = answer()
    await made.run(app)
    assert wire.sent.startswith(b"HTTP/1.1 500 ")
    assert b'"code":"internal_error"' in wire.sent
    assert b"secret" not in wire.sent
    assert wire.closed
    assert "the application" in caplog.text


async def test_an_answer_that_is_left_unfinished_ends_without_its_end():
    made, wire, _ = answer()
    await made.run(application(start(), body(b"half", more=True)))
    assert wire.sent.endswith(b"4\r\nhalf\r\n")
    assert wire.closed


async def test_what_an_application_does_after_its_answer_harms_nobody(caplog):
    made, wire, _ = answer()
    await made.run(application(start(204), body(), error=ValueError()))
    assert wire.sent.count(b"HTTP/1.1") == 1
    assert not wire.closed
    assert "the application failed" in caplog.text


async def test_a_body_is_received_as_it_arrives():
    made, wire, _ = answer()
    receiving = asyncio.ensure_future(made.receive())
    await asyncio.sleep(0)
    assert wire.resumed == 1
    assert made.arrived(b"one") == 3
    assert made.arrived(b"two") == 6
    assert await receiving == {"type": "http.request", "body": b"onetwo", "more_body": True}
    made.more_body = False
    made.wake()
    assert await made.receive() == {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("end", ["disconnected", "response_complete"])
async def test_after_the_end_only_the_disconnect_is_received(end):
    made, _, _ = answer()
    receiving = asyncio.ensure_future(made.receive())
    await asyncio.sleep(0)
    setattr(made, end, True)
    made.wake()
    assert await receiving == {"type": "http.disconnect"}
    assert await made.receive() == {"type": "http.disconnect"}


async def test_who_waits_to_be_asked_for_its_body_is_asked_once():
    made, wire, _ = answer()
    made.expects_continue = True
    made.arrived(b"x")
    await made.receive()
    made.wake()
    await made.receive()
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_a_dropped_answer_is_cut_and_nothing_more_is_said_of_it(caplog):
    made, wire, done = answer()

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"one", more=True))
        made.drop()
        await send(body(b"two", more=True))

    await made.run(app)
    assert b"two" not in wire.sent
    assert (wire.aborted, done) == (True, [])
    assert caplog.records == []
