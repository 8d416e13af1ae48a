"""Ending: a call is billed for the attempt that it cuts short, and for nothing if it cuts none."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from app.core.failures import ClosedEarly, ConnectFailed, EndpointFailed, TotalTimeout
from app.core.guard import Lease
from app.core.outcome import NO_USAGE, Outcome, Settlement, Usage
from app.gateway.ending import Ending
from app.resilience.deadline import Deadline
from tests.clock import settle
from tests.fakes import make_call
from tests.line import JSON, SSE, Rig, answer, error_body

RATE = 100
"""Tokens a second that the model of these tests is known to make."""


def rig_of(*names: str, **answers) -> Rig:
    rig = Rig(*names, **answers)
    lesson = Settlement(Outcome.SUCCESS, Usage(5, RATE), elapsed=1.0)
    rig.pace.settled(make_call(), lesson)
    rig.pace.settled(make_call(streams=True), lesson)
    return rig


async def hung_up(rig: Rig, task: asyncio.Future[bytes]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_call_that_waited_in_vain_for_a_place_is_void():
    rig = rig_of("a", a=[(200, JSON, [answer()])])

    async def enter(call, tried):
        await asyncio.Event().wait()

    rig.pool.enter = enter
    task = asyncio.ensure_future(rig.call())
    await rig.clock.run(60)
    with pytest.raises(TotalTimeout):
        await task
    assert (rig.row.billed, rig.row.usage, rig.row.finish) == (False, NO_USAGE, None)
    assert (rig.row.status, rig.row.error_code) == (504, "upstream_total_timeout")


@pytest.mark.parametrize("error", [ConnectFailed(), EndpointFailed()], ids=["refused", "500"])
async def test_hang_up_between_two_attempts_is_void(error):
    rig = rig_of("a", "b", a=[error], b=[(200, JSON, [answer()])])
    entering, enter = asyncio.Event(), rig.pool.enter

    async def slow(call, tried):
        if tried:
            entering.set()
            await asyncio.Event().wait()
        return await enter(call, tried)

    rig.pool.enter = slow
    task = asyncio.ensure_future(rig.call())
    async with asyncio.timeout(5):
        await entering.wait()
    await hung_up(rig, task)
    assert (rig.row.billed, rig.row.usage, rig.row.status) == (False, NO_USAGE, 499)


async def test_hang_up_pays_for_the_attempt_under_way_only():
    first = asyncio.Event()
    rig = rig_of("a", "b", a=[(200, JSON, [first, EndpointFailed()])], b=[asyncio.Event()])
    task = asyncio.ensure_future(rig.call())
    await settle()
    await rig.clock.run(10)
    first.set()
    async with asyncio.timeout(5):
        while rig.transport.asked != ["a", "b"]:
            await asyncio.sleep(0.01)
    await rig.clock.run(2)
    await hung_up(rig, task)
    assert (rig.row.billed, rig.row.usage) == (True, Usage(7, 2 * RATE))
    assert rig.made.attempts[0].settlement.usage == Usage(0, 10 * RATE)


@pytest.mark.parametrize(
    "script", [asyncio.Event, lambda: (200, SSE, [asyncio.Event()])], ids=["no head", "no event"]
)
async def test_stream_that_said_nothing_has_generated_nothing(script):
    rig = rig_of("a", a=[script()])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    await rig.clock.run(2)
    await hung_up(rig, task)
    assert (rig.row.usage, rig.row.usage_source) == (Usage(7, 0), "estimated")


async def test_answer_that_was_metered_unseen_is_billed_as_metered():
    rig = rig_of("a", a=[asyncio.Event()])
    task = asyncio.ensure_future(rig.call())
    await settle()
    rig.made.metered = SimpleNamespace(usage=Usage(9, 4, 3, 2), usage_source="upstream", suspect=False)
    await rig.clock.run(2)
    await hung_up(rig, task)
    assert (rig.row.usage, rig.row.usage_source) == (Usage(9, 4, 3, 2), "upstream")


@pytest.mark.parametrize("end", [ClosedEarly(), (500, JSON, [error_body(500)])], ids=["closed", "500"])
async def test_attempt_that_died_at_work_is_wasted_by_estimate(end):
    rig = rig_of("a", a=[end])
    began, send = asyncio.Event(), rig.transport.send

    async def late(outbound, endpoint, connect_timeout):
        await began.wait()
        return await send(outbound, endpoint, connect_timeout)

    rig.transport.send = late
    task = asyncio.ensure_future(rig.call())
    await settle()
    await rig.clock.run(3)
    began.set()
    with pytest.raises((ClosedEarly, EndpointFailed)):
        await task
    assert (rig.row.billed, rig.row.usage) == (False, NO_USAGE)
    assert [attempt.settlement.usage for attempt in rig.made.attempts] == [Usage(0, 3 * RATE)]


async def test_endpoint_that_refused_has_wasted_nothing():
    rig = rig_of("a", a=[(400, JSON, [error_body(400, "BadRequestError")])])
    with pytest.raises(Exception, match="rejected"):
        await rig.call()
    assert [attempt.settlement.usage for attempt in rig.made.attempts] == [NO_USAGE]
    assert not rig.row.billed


async def test_attempt_that_is_over_ends_by_itself_and_the_call_is_billed():
    rig = rig_of("a")
    call, lease, clock = make_call(streams=True), Lease(), rig.clock
    deadline = Deadline(clock)
    ending = Ending(call, lease, deadline, rig.ledger, rig.ear, rig.pace, rig.fuse, clock)
    endpoint, place = await rig.pool.enter(call, [])
    ending.absorb(endpoint, place, clock.monotonic())
    broken = Settlement(Outcome.FAILURE, reason="cut", billed=False)
    ending.release(broken)
    assert (endpoint.settlements, endpoint.inflight) == ([broken], 0)
    assert (ending.reached, [attempt.endpoint for attempt in call.attempts]) == (False, ["a"])
    with pytest.raises(RuntimeError):
        ending.release(broken)
    ending.fail(ClosedEarly(), Usage(5, 7), "upstream")
    row = rig.ledger.rows[call.id]
    assert (row.billed, row.usage, row.finish) == (True, Usage(5, 7), "cut")
    assert (endpoint.settlements, len(call.attempts)) == ([broken], 1)
