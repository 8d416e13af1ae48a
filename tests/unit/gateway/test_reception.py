"""What is held before the commit point, and what a failure there still allows."""

from __future__ import annotations

import asyncio

import pytest

from app.core.failures import BadUpstream, EndpointFailed, EndpointRejected, FirstByteTimeout, StreamBroken
from app.core.outcome import Outcome
from app.gateway import reception
from app.wire.surfaces import SURFACES
from tests.clock import settle
from tests.line import DONE, HEL, LO, ROLE, SSE, STOP, WHOLE, Rig, error_body, event

PING = b": keep-alive\n\n"
MESSAGE_START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"1","model":"m"}}\n\n'


def in_band(status: int, kind: str) -> bytes:
    return b"data: " + error_body(status, kind) + b"\n\n"


async def test_the_role_is_held_until_something_useful_comes_and_then_all_goes_at_once():
    more = asyncio.Event()
    rig = Rig("a", a=[(200, SSE, [ROLE, more, HEL, LO, STOP, DONE])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    assert rig.made.first_byte is None
    assert rig.pool["a"].answers == 0
    await rig.clock.run(3)
    more.set()
    received = await task
    assert received.index(b'"role"') < received.index(b"Hel")
    assert received.count(b'"role"') == 1
    assert rig.row.first_byte == 3
    rig.assert_quiet()


@pytest.mark.parametrize(
    "death",
    [
        [StreamBroken()],
        [b""],
        [DONE, b""],
        [event({}, finish="abort"), DONE],
        [in_band(500, "InternalServerError"), DONE],
    ],
    ids=["cut", "closed", "thrown away", "aborted", "failed in band"],
)
@pytest.mark.parametrize("early", [[ROLE], [PING, ROLE, PING], [ROLE + ROLE]])
async def test_a_failure_after_nothing_but_the_role_is_mended_elsewhere(early, death):
    rig = Rig("a", "b", a=[(200, SSE, [*early, *death])], b=[(200, SSE, WHOLE)])
    received = await rig.call(streams=True)
    assert rig.transport.asked == ["a", "b"]
    assert received.count(b'"role"') == 1, "what the dead engine said is not replayed"
    assert received.endswith(DONE)
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE
    rig.assert_quiet()


async def test_an_abort_in_place_of_the_first_text_is_an_engine_that_drains():
    rig = Rig("a", "b", a=[(200, SSE, [ROLE, event({}, finish="abort") + DONE])], b=[(200, SSE, WHOLE)])
    await rig.call(streams=True)
    assert rig.pool["a"].learnt[0].draining


@pytest.mark.parametrize(("end", "draining"), [(DONE, False), (event({}, finish="abort"), True)])
async def test_an_empty_end_ends_the_wait_though_the_connection_stays_open(end, draining):
    rig = Rig("a", a=[(200, SSE, [ROLE, end, asyncio.Event()])])
    async with asyncio.timeout(10):
        with pytest.raises(EndpointFailed) as caught:
            await rig.call(streams=True)
    assert caught.value.draining is draining


async def test_an_error_after_the_role_still_gets_its_status():
    rig = Rig("a", "b", a=[(200, SSE, [ROLE, in_band(400, "BadRequestError")])], b=[(200, SSE, WHOLE)])
    with pytest.raises(EndpointRejected) as caught:
        await rig.call(streams=True)
    assert caught.value.status == 400
    assert rig.transport.asked == ["a"]


async def test_nothing_is_tried_again_after_the_first_useful_event():
    rig = Rig("a", "b", a=[(200, SSE, [ROLE, HEL, StreamBroken()])], b=[(200, SSE, WHOLE)])
    with pytest.raises(StreamBroken):
        await rig.call(streams=True)
    assert rig.transport.asked == ["a"]


async def test_neither_role_nor_pings_end_the_first_byte_limit_and_none_speaks_for_the_endpoint():
    pings = [PING, asyncio.Event()]
    rig = Rig("a", a=[(200, SSE, [ROLE, *pings, ROLE, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await rig.clock.run(4)
    pings[1].set()
    await rig.clock.run(1)
    with pytest.raises(FirstByteTimeout):
        await task
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE, "it made no progress for anyone"
    rig.assert_quiet()


async def test_the_start_of_a_message_is_no_answer_yet():
    rig = Rig("a", a=[(200, SSE, [MESSAGE_START, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True, surface=SURFACES["/v1/messages"]))
    await rig.clock.run(5)
    with pytest.raises(FirstByteTimeout):
        await task


async def test_an_endless_beginning_is_not_held_for_ever(monkeypatch):
    monkeypatch.setattr(reception, "MAX_HELD", 10 * len(ROLE))
    script = [ROLE] * 20
    rig = Rig("a", "b", a=[(200, SSE, script)], b=[(200, SSE, WHOLE)])
    await rig.call(streams=True)
    assert isinstance(rig.pool["a"].learnt[0], BadUpstream)
