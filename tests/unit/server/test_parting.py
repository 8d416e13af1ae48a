from __future__ import annotations

import socket

import pytest

from app.server.parting import part
from tests.rawcaller import Application, house, post


@pytest.fixture
def app():
    return Application()


async def test_connection_between_two_requests_is_closed(app):
    async with house(app) as subject:
        caller = await subject.call(post())
        await caller.answer()
        part(subject.listener.connections)
        assert await caller.closed() == b""


async def test_request_that_the_loop_has_not_read_yet_is_answered(app):
    async with house(app) as subject:
        caller = await subject.call(post())
        await caller.answer()
        same = socket.socket(fileno=caller.writer.get_extra_info("socket").fileno())
        same.send(post("/", b"next"))
        same.detach()
        part(subject.listener.connections)
        assert (await caller.answer()).body == b"next"


async def test_connection_that_has_not_asked_yet_is_left_open(app):
    async with house(app) as subject:
        callers = [await subject.call(), await subject.call(post()[:10])]
        other = await subject.call(post())
        await other.answer()
        part(subject.listener.connections)
        callers[0].say(post())
        callers[1].say(post()[10:])
        assert [(await caller.answer()).status for caller in callers] == [200, 200]


async def test_answer_that_is_due_is_finished_first(app):
    async with house(app) as subject:
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        part(subject.listener.connections)
        app.go_on.set()
        assert (await caller.answer()).body == b"onetwo"
        assert await caller.closed() == b""
