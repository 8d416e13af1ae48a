"""The fuse in the line: a body that kills is sent to two endpoints and no more; others are not bothered."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import QueryOfDeath
from app.core.failures import BadUpstream, ClosedEarly, EndpointFailed, FirstByteTimeout, StreamBroken
from app.core.outcome import Outcome
from tests.clock import settle
from tests.fakes import make_call
from tests.line import HEL, JSON, ROLE, SSE, WHOLE, Rig, answer, error_body

GOOD = (200, JSON, [answer()])
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
DEAD_BODY = error_body(500, message=DEAD)
DEAD_EVENT = b"data: " + DEAD_BODY + b"\n\n"
OTHER = {"model": "m", "messages": [{"role": "user", "content": "another"}]}

DEATHS = {
    "closed": (False, [ClosedEarly()], ClosedEarly),
    "cut in the body": (False, [(200, JSON, [b"{", StreamBroken()])], ClosedEarly),
    "dead engine": (False, [(500, JSON, [DEAD_BODY])], EndpointFailed),
    "dead engine in band": (True, [(200, SSE, [ROLE, DEAD_EVENT])], EndpointFailed),
    "cut before anything useful": (True, [(200, SSE, [ROLE, StreamBroken(reason="reset")])], ClosedEarly),
}
LATE = {
    "cut": [StreamBroken()],
    "reset": [StreamBroken(reason="reset")],
    "dead engine": [DEAD_EVENT],
}
NO_DEATHS = {
    "500": ([(500, JSON, [error_body(500)])], EndpointFailed),
    "503": ([(503, JSON, [error_body(503, "InternalServerError")])], EndpointFailed),
    "garbage": ([(200, JSON, [b"<html>"])], BadUpstream),
    "draining": ([(500, JSON, [error_body(500, message="cannot schedule new futures after shutdown")])], EndpointFailed),
    "aborted": ([(200, JSON, [answer(0, "abort")])], EndpointFailed),
}  # fmt: skip


@pytest.mark.parametrize(("streams", "death", "error"), DEATHS.values(), ids=DEATHS.keys())
async def test_v08_a_body_that_kills_two_endpoints_never_meets_a_third(streams, death, error):
    rig = Rig("a", "b", "c", "d", attempts=9, a=death, b=death, c=[GOOD], d=[GOOD])
    with pytest.raises(error):
        await rig.call(streams=streams)
    assert rig.transport.asked == ["a", "b"]
    with pytest.raises(QueryOfDeath):
        await rig.call(streams=streams)
    assert rig.transport.asked == ["a", "b"]
    assert isinstance(rig.ear.rejections[-1], QueryOfDeath)
    assert rig.made.id not in rig.ledger.rows, "refused at the door: no row"
    assert rig.guard.held == 0


@pytest.mark.parametrize("death", LATE.values(), ids=LATE.keys())
async def test_v08_deaths_in_mid_stream_count_as_well(death):
    rig = Rig("a", "b", "c", a=[(200, SSE, [ROLE + HEL, *death])], c=[(200, SSE, WHOLE)])
    for name in ("a", "b"):
        rig.pool.endpoints = [endpoint for endpoint in rig.pool.endpoints if endpoint.spec.name >= name]
        rig.transport.answers[name] = [(200, SSE, [ROLE + HEL, *death])]
        with pytest.raises(StreamBroken):
            await rig.call(streams=True)
    with pytest.raises(QueryOfDeath):
        await rig.call(streams=True)
    assert rig.transport.asked == ["a", "b"]


@pytest.mark.parametrize(("script", "error"), NO_DEATHS.values(), ids=NO_DEATHS.keys())
async def test_other_failures_are_no_deaths(script, error):
    rig = Rig("a", "b", a=script, b=script)
    for _ in range(3):
        with pytest.raises(error):
            await rig.call()
    assert not rig.fuse.armed


async def test_a_timeout_is_no_death():
    rig = Rig("a", a=[(200, SSE, [asyncio.Event()])])
    for _ in range(2):
        task = asyncio.ensure_future(rig.call(streams=True))
        await rig.clock.run(5)
        with pytest.raises(FirstByteTimeout):
            await task
    assert not rig.fuse.armed


async def test_a_hang_up_is_no_death():
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    task.cancel()
    await asyncio.wait({task})
    assert not rig.fuse.armed


async def test_other_calls_pass_while_a_body_is_refused():
    rig = Rig("a", "b", a=[ClosedEarly(), GOOD], b=[ClosedEarly(), GOOD])
    with pytest.raises(ClosedEarly):
        await rig.call()
    assert await rig.call(body=OTHER)
    assert rig.row.outcome is Outcome.SUCCESS
    with pytest.raises(QueryOfDeath):
        await rig.call()


async def test_an_innocent_body_is_cleared_by_the_endpoint_that_answers_it():
    rig = Rig("a", "b", a=[ClosedEarly(), ClosedEarly(), GOOD], b=[GOOD])
    for _ in range(2):
        assert await rig.call()
        rig.clock.advance(60)
    assert not rig.fuse.armed
    assert await rig.call()


async def test_a_suspect_is_cleared_by_a_whole_stream_and_not_by_a_broken_one():
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL, b""]), (200, SSE, WHOLE)])
    rig.fuse.died(make_call(), "elsewhere", 0.0)
    with pytest.raises(StreamBroken):
        await rig.call(streams=True)
    assert rig.fuse.armed
    await rig.call(streams=True)
    assert not rig.fuse.armed


async def test_a_retry_finds_out_that_the_fuse_has_blown_meanwhile():
    """Two calls with the same body: the second endpoint of the first call dies of the other one."""
    gone = asyncio.Event()
    rig = Rig("a", "b", a=[gone], b=[GOOD])
    dying = _dying_when(rig, gone)
    task = asyncio.ensure_future(rig.call())
    await settle()
    rig.fuse.died(make_call(), "c", rig.clock.monotonic())
    gone.set()
    with pytest.raises(QueryOfDeath):
        await task
    assert rig.transport.asked == ["a"]
    assert dying == ["a"]
    assert not rig.row.billed
    rig.assert_quiet()


async def test_a_call_from_the_queue_finds_out_that_the_fuse_has_blown_meanwhile():
    rig = Rig("a", a=[GOOD])
    enter = rig.pool.enter

    async def entering(call, tried):
        place = await enter(call, tried)
        for endpoint in ("c", "d"):
            rig.fuse.died(call, endpoint, rig.clock.monotonic())
        call.queue_wait = 1.0
        return place

    rig.pool.enter = entering
    with pytest.raises(QueryOfDeath):
        await rig.call()
    assert rig.transport.asked == []
    rig.assert_quiet()


def _dying_when(rig: Rig, gone: asyncio.Event) -> list[str]:
    """The transport raises once the event is set, instead of answering."""
    send, died = rig.transport.send, []

    async def sending(outbound, endpoint, connect_timeout):
        if endpoint.name == "a":
            rig.transport.sent.append((endpoint.name, outbound))
            await gone.wait()
            died.append(endpoint.name)
            raise ClosedEarly
        return await send(outbound, endpoint, connect_timeout)

    rig.transport.send = sending
    return died
