from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager

from app.core.errors import ShuttingDown
from app.server.lifecycle import State
from app.server.listener import Listener
from app.server.refusal import refuse
from app.server.runner import run, undisturbed
from tests.rawcaller import PATIENCE, Application, House, post


@asynccontextmanager
async def running(app, reload=None, **options):
    """A house that runs until it is told to stop; gives the house and its run."""
    subject = House(app, **options)

    async def door(scope, receive, send):
        if subject.lifecycle.draining:
            await refuse(ShuttingDown(), scope, send)
        else:
            await app(scope, receive, send)

    subject.listener = Listener(door, subject.lifecycle, subject.options, lifespan="off")
    ops = Listener(Application(), subject.lifecycle, subject.options, lifespan="off")
    task = asyncio.create_task(run([subject.listener, ops], subject.lifecycle, subject.options, reload))
    async with asyncio.timeout(PATIENCE):
        await subject.lifecycle.reached(State.SERVING)
        yield subject, task
        await task
        await subject.leave()


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


async def test_l01_streams_finish_and_the_exit_is_clean():
    app = Application()
    async with running(app, lame_duck=0) as (subject, task):
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        assert subject.lifecycle.inflight() == 1
        terminate()
        await subject.lifecycle.reached(State.DRAINING)
        late = await (await subject.call(post())).answer()
        app.go_on.set()
        answer = await caller.answer()
        assert await caller.closed() == b""
        assert await task == 0
    assert (late.status, late.code, late.headers["connection"]) == (503, "shutting_down", "close")
    assert answer.body == b"onetwo"
    assert subject.lifecycle.state is State.STOPPED


async def test_l01_lame_duck_still_serves():
    app = Application()
    async with running(app, lame_duck=60) as (subject, task):
        terminate()
        await subject.lifecycle.reached(State.LAME_DUCK)
        assert not subject.lifecycle.ready
        assert (await (await subject.call(post())).answer()).status == 200
        subject.lifecycle.stop()
        assert await task == 0


async def test_lame_duck_ends_each_connection_with_its_next_answer():
    app = Application()
    async with running(app, lame_duck=60) as (subject, task):
        kept = await subject.call(post())
        assert "connection" not in (await kept.answer()).headers
        terminate()
        await subject.lifecycle.reached(State.LAME_DUCK)
        kept.say(post())
        answer = await kept.answer()
        assert await kept.closed() == b""
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        subject.lifecycle.stop()
        assert await task == 0


async def test_connection_between_two_requests_is_closed_when_the_drain_begins():
    app = Application()
    async with running(app, lame_duck=0) as (subject, task):
        idle = await subject.call(post())
        await idle.answer()
        busy = await subject.call(post("/stream"))
        await app.started.wait()
        terminate()
        assert await idle.closed() == b""
        assert not task.done()
        app.go_on.set()
        await busy.answer()
        assert await task == 0


async def test_connection_opened_before_the_drain_gets_an_answer_to_its_first_request():
    app = Application()
    async with running(app, lame_duck=0) as (subject, task):
        silent = await subject.call()
        half = await subject.call(post()[:10])
        busy = await subject.call(post("/stream"))
        await app.started.wait()
        terminate()
        await subject.lifecycle.reached(State.DRAINING)
        await asyncio.sleep(0)
        silent.say(post())
        half.say(post()[10:])
        answers = [await silent.answer(), await half.answer()]
        app.go_on.set()
        await busy.answer()
        assert await task == 0
    assert [answer.code for answer in answers] == ["shutting_down"] * 2


async def test_l02_stuck_peers_do_not_outlast_the_drain(monkeypatch):
    monkeypatch.setattr("app.server.runner._FLUSH", 0.05)
    app = Application()
    async with running(app, lame_duck=0, drain=0.05) as (subject, task):
        caller = await subject.call(post("/", b"x" * 100)[:-50])
        while not app.scopes:
            await asyncio.sleep(0)
        terminate()
        assert await task == 0
        assert await caller.closed() == b""


async def test_l03_drain_deadline_aborts_the_calls():
    app = Application()
    async with running(app, lame_duck=0, drain=0.05) as (subject, task):
        caller = await subject.call(post("/stream"))
        await app.started.wait()
        subject.lifecycle.on_abort(app.go_on.set)
        terminate()
        assert (await caller.answer()).body == b"onetwo"
        assert await task == 0


async def test_l04_second_signal_does_not_wait_for_the_drain():
    app = Application()
    async with running(app, lame_duck=0, drain=3600) as (subject, task):
        await subject.call(post("/stream"))
        await app.started.wait()
        subject.lifecycle.on_abort(app.go_on.set)
        terminate()
        await subject.lifecycle.reached(State.DRAINING)
        terminate()
        assert await task == 0


async def test_sighup_reloads():
    reloaded = asyncio.Event()
    async with running(Application(), reload=reloaded.set, lame_duck=0) as (subject, _):
        os.kill(os.getpid(), signal.SIGHUP)
        await reloaded.wait()
        subject.lifecycle.stop()


async def test_taken_port_exits_1_with_one_line(capsys):
    async with running(Application(), lame_duck=0) as (subject, _):
        other = House(Application(), port=subject.listener.port)
        assert await run([other.listener], other.lifecycle, other.options) == 1
        subject.lifecycle.stop()
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "address already in use" in message


def test_last_steps_are_not_cut_by_whoever_cannot_wait():
    heard = []
    former = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        with undisturbed():
            terminate()
        assert heard == []
        terminate()
        assert heard == ["before"]
    finally:
        signal.signal(signal.SIGTERM, former)
