"""The line: admitted, dispatched, exchanged, settled; each call exactly once."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.core.errors import (
    CallerGone,
    ModelNotFound,
    NoHealthyEndpoint,
    Overloaded,
    RateLimitExceeded,
    ShuttingDown,
    StorageUnavailable,
)
from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    ConnectFailed,
    ConnectTimeout,
    EndpointBusy,
    EndpointFailed,
    EndpointRejected,
    FirstByteTimeout,
    IdleTimeout,
    ModelMissing,
    StreamBroken,
    TotalTimeout,
)
from app.core.outcome import Outcome, Usage
from app.gateway.catalog import Model
from tests.clock import settle
from tests.fakes import FakePool
from tests.line import DONE, HEL, JSON, LO, ROLE, SSE, WHOLE, Rig, answer, error_body, event


async def test_a_json_answer_is_relayed_named_as_asked_and_settled():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    body = json.loads(await rig.call())
    assert body["model"] == "m"
    assert rig.row.usage == Usage(prompt=5, completion=3)
    assert (rig.row.outcome, rig.row.finish, rig.row.usage_source) == (Outcome.SUCCESS, "stop", "upstream")
    assert json.loads(rig.transport.sent[0][1].body)["model"] == "m-served"
    assert rig.pool["a"].settlements == [rig.row]
    rig.assert_quiet()


async def test_a_stream_is_relayed_without_the_usage_nobody_asked_for():
    rig = Rig("a", a=[(200, SSE, WHOLE)])
    text = await rig.call(streams=True, body={"model": "m", "stream": True, "messages": []})
    assert text.endswith(DONE)
    assert b"usage" not in text
    assert b'"model":"m"' in text
    assert rig.row.usage == Usage(prompt=5, completion=3)
    sent = json.loads(rig.transport.sent[0][1].body)
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    rig.assert_quiet()


@pytest.mark.parametrize("resume", [False, True])
async def test_a_stream_that_has_begun_keeps_its_prompt_only_to_be_carried_on(resume):
    rig = Rig("a", model=Model("m", resume=resume), a=[(200, SSE, WHOLE)])
    await rig.call(streams=True, body={"model": "m", "stream": True, "messages": []})
    assert bool(rig.made.body) is resume
    assert (rig.made.fingerprint is None) is resume


async def test_the_end_leaves_only_after_the_row_is_durable():
    rig = Rig("a", a=[(200, SSE, WHOLE)])
    rig.ledger.durable = asyncio.get_running_loop().create_future()
    reading = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    assert rig.ledger.rows
    assert not reading.done()
    rig.ledger.durable.set_result(None)
    assert (await reading).endswith(DONE)


async def test_a_json_answer_leaves_only_after_the_row_is_durable():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    rig.ledger.durable = asyncio.get_running_loop().create_future()
    reading = asyncio.ensure_future(rig.call())
    await settle()
    assert rig.ledger.rows
    assert not reading.done()
    rig.ledger.durable.set_result(None)
    assert await reading


@pytest.mark.parametrize("failure", [ConnectFailed(), ConnectTimeout()])
async def test_every_endpoint_is_tried_for_failures_that_cost_nothing(failure):
    names = ["a", "b", "c", "d"]
    rig = Rig(*names, a=[failure], b=[failure], c=[failure], d=[(200, JSON, [answer()])])
    assert await rig.call()
    assert rig.transport.asked == names
    assert [name for name, _ in rig.ear.attempts] == names
    assert rig.pool["a"].learnt == [failure]
    rig.assert_quiet()


async def test_refused_everywhere_is_no_healthy_endpoint():
    rig = Rig("a", "b", a=[ConnectFailed()], b=[ConnectFailed()])
    with pytest.raises(ConnectFailed) as caught:
        await rig.call()
    assert (caught.value.status, caught.value.code) == (503, "no_healthy_endpoint")
    assert not rig.row.billed
    rig.assert_quiet()


async def test_a_500_costs_an_attempt_and_is_tried_once_elsewhere():
    bad = (500, JSON, [error_body(500)])
    rig = Rig("a", "b", "c", a=[bad], b=[bad], c=[(200, JSON, [answer()])])
    with pytest.raises(EndpointFailed):
        await rig.call()
    assert rig.transport.asked == ["a", "b"]
    assert [s.outcome for _, s in rig.ear.attempts] == [Outcome.FAILURE, Outcome.FAILURE]
    rig.assert_quiet()


async def test_the_second_endpoint_saves_a_call_from_a_500():
    rig = Rig("a", "b", a=[(500, JSON, [error_body(500)])], b=[(200, JSON, [answer()])])
    assert await rig.call()
    assert rig.transport.asked == ["a", "b"]
    assert rig.row.outcome is Outcome.SUCCESS
    rig.assert_quiet()


async def test_two_deaths_end_a_call_whatever_attempts_are_left():
    rig = Rig("a", "b", "c", attempts=5, a=[ClosedEarly()], b=[ClosedEarly()], c=[(200, JSON, [answer()])])
    with pytest.raises(ClosedEarly):
        await rig.call()
    assert rig.transport.asked == ["a", "b"]


async def test_an_empty_retry_budget_leaves_the_last_error_as_it_is():
    rig = Rig("a", "b", a=[ClosedEarly()], b=[ClosedEarly()])
    for number in range(40):
        with pytest.raises(ClosedEarly):
            await rig.call(body={"model": "m", "messages": [], "seed": number})
    assert len(rig.transport.asked) < 80


async def test_a_400_is_passed_on_after_one_hit():
    raw = error_body(400, "BadRequestError", "too long", "messages")
    rig = Rig("a", "b", a=[(400, JSON, [raw])], b=[(200, JSON, [answer()])])
    with pytest.raises(EndpointRejected) as caught:
        await rig.call()
    assert (caught.value.status, caught.value.body()) == (400, raw)
    assert rig.transport.asked == ["a"]
    assert rig.pool["a"].settlements[0].outcome is Outcome.IGNORED
    assert not rig.row.billed


async def test_an_error_as_first_event_is_answered_with_its_status():
    raw = b'data: {"error": {"message": "bad", "type": "BadRequestError", "param": null, "code": 400}}\n\n'
    rig = Rig("a", a=[(200, SSE, [raw + DONE])])
    with pytest.raises(EndpointRejected) as caught:
        await rig.call(streams=True)
    assert caught.value.status == 400
    rig.assert_quiet()


async def test_a_500_as_first_event_is_tried_elsewhere():
    raw = (
        b'data: {"error": {"message": "dead", "type": "InternalServerError", "param": null, "code": 500}}\n\n'
    )
    rig = Rig("a", "b", a=[(200, SSE, [raw + DONE])], b=[(200, SSE, WHOLE)])
    assert (await rig.call(streams=True)).endswith(DONE)
    assert rig.transport.asked == ["a", "b"]


async def test_busy_everywhere_is_overloaded_with_the_endpoints_patience():
    busy = (503, JSON | {"retry-after": "7"}, [b"{}"])
    rig = Rig("a", "b", a=[busy], b=[busy])
    with pytest.raises(EndpointBusy) as caught:
        await rig.call()
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "overloaded", 7)
    assert {s.outcome for _, s in rig.ear.attempts} == {Outcome.IGNORED}


async def test_our_own_bad_credentials_never_look_like_the_callers():
    rig = Rig("a", a=[(401, JSON, [b'{"error":"Unauthorized"}'])])
    with pytest.raises(Exception) as caught:
        await rig.call()
    assert (caught.value.status, caught.value.code) == (502, "bad_upstream")


async def test_a_model_missing_everywhere_is_not_found():
    gone = (404, JSON, [error_body(404, "NotFoundError", "The model `m` does not exist.", "model")])
    rig = Rig("a", "b", a=[gone], b=[gone])
    with pytest.raises(ModelMissing) as caught:
        await rig.call()
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


async def test_endpoints_that_disagree_speak_for_nobody():
    gone = (404, JSON, [error_body(404, "NotFoundError", "The model `m` does not exist.", "model")])
    rig = Rig("a", "b", a=[gone], b=[(401, JSON, [b'{"error":"Unauthorized"}'])])
    with pytest.raises(NoHealthyEndpoint):
        await rig.call()


@pytest.mark.parametrize(
    "script",
    [
        [b"<html>"],
        [b'["no object"]'],
        [b""],
    ],
)
async def test_what_is_no_answer_is_bad_upstream(script):
    rig = Rig("a", a=[(200, JSON, script)])
    with pytest.raises(BadUpstream):
        await rig.call()
    rig.assert_quiet()


async def test_a_json_answer_to_a_stream_is_bad_upstream():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    with pytest.raises(BadUpstream):
        await rig.call(streams=True)


async def test_a_json_answer_of_an_engine_shutting_down_is_no_answer():
    rig = Rig("a", "b", a=[(200, JSON, [answer(0, "abort")])], b=[(200, JSON, [answer()])])
    assert json.loads(await rig.call())["choices"][0]["finish_reason"] == "stop"
    assert rig.pool["a"].learnt[0].draining
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE


BROKEN = {
    "cut": [ROLE + HEL, StreamBroken()],
    "no end": [ROLE + HEL, b""],
    "done without a finish": [ROLE + HEL, DONE],
    "aborted": [ROLE + HEL, event({}, finish="abort", tokens=1) + DONE],
    "failed in band": [
        ROLE + HEL,
        b'data: {"error": {"message": "dead", "type": "InternalServerError", "param": null, "code": 500}}\n\n'
        + DONE,
    ],
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_stream_raises_and_never_says_done(script):
    rig = Rig("a", "b", a=[(200, SSE, script)], b=[(200, SSE, WHOLE)])
    with pytest.raises(StreamBroken) as caught:
        await rig.call(streams=True)
    assert caught.value.code == "upstream_error"
    assert DONE not in rig.received
    assert b"Hel" in rig.received
    assert rig.transport.asked == ["a"]
    assert (rig.row.outcome, rig.row.billed) == (Outcome.FAILURE, True)
    assert rig.row.usage == Usage(prompt=5, completion=1)
    assert rig.transport.bodies[0].closed
    rig.assert_quiet()


async def test_text_in_the_packet_of_an_error_is_the_callers():
    error = BROKEN["failed in band"][1]
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL, LO + error])])
    with pytest.raises(StreamBroken) as caught:
        await rig.call(streams=True)
    assert caught.value.reason == "in_band"
    assert b'"lo"' in rig.received
    assert rig.row.usage == Usage(prompt=5, completion=2)


async def test_a_stream_cut_before_its_first_event_is_tried_elsewhere():
    rig = Rig("a", "b", a=[(200, SSE, [b": keep-alive\n\n", StreamBroken()])], b=[(200, SSE, WHOLE)])
    assert (await rig.call(streams=True)).endswith(DONE)
    assert rig.transport.asked == ["a", "b"]


async def test_silence_before_the_first_event_is_a_first_byte_timeout():
    rig = Rig("a", "b", a=[(200, SSE, [asyncio.Event()])], b=[(200, SSE, WHOLE)])
    task = asyncio.ensure_future(rig.call(streams=True))
    await rig.clock.run(5)
    with pytest.raises(FirstByteTimeout):
        await task
    assert rig.transport.asked == ["a"], "the engine may be working: not tried elsewhere"
    assert (rig.row.finish, rig.row.billed, rig.row.status) == ("timeout", True, 504)
    assert rig.row.usage.prompt == 7, "by estimate"
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE
    rig.assert_quiet()


async def test_a_stream_s_head_is_no_progress():
    """vLLM sends it before it has scheduled anything: an engine that hangs behind it is to blame."""
    rig = Rig("a", a=[(200, SSE, [asyncio.Event()])])
    send, arrives = rig.transport.send, asyncio.Event()

    async def later(*asked):
        await arrives.wait()
        return await send(*asked)

    rig.transport.send = later
    task = asyncio.ensure_future(rig.call(streams=True))
    await rig.clock.run(1)
    arrives.set()
    await rig.clock.run(4)
    with pytest.raises(FirstByteTimeout):
        await task
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE


async def test_a_slow_endpoint_that_moves_for_others_is_not_blamed():
    rig = Rig("a", a=[(200, SSE, [asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await rig.clock.run(2)
    rig.pool["a"].progressed_at = rig.clock.monotonic()
    await rig.clock.run(3)
    with pytest.raises(FirstByteTimeout):
        await task
    assert rig.pool["a"].settlements[0].outcome is Outcome.IGNORED


async def test_silence_in_mid_stream_is_an_idle_timeout():
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await rig.clock.run(10)
    with pytest.raises(IdleTimeout):
        await task
    assert rig.row.usage == Usage(prompt=5, completion=1)
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE
    rig.assert_quiet()


async def test_a_json_call_meets_only_the_total_limit():
    rig = Rig("a", a=[asyncio.Event()])
    task = asyncio.ensure_future(rig.call())
    await rig.clock.run(59)
    assert not task.done()
    await rig.clock.run(1)
    with pytest.raises(TotalTimeout):
        await task
    assert rig.pool["a"].settlements[0].outcome is Outcome.IGNORED, "never the endpoint's fault"
    assert rig.row.finish == "timeout"
    rig.assert_quiet()


async def test_a_callers_own_deadline_can_only_shorten():
    rig = Rig("a", a=[asyncio.Event()])
    task = asyncio.ensure_future(rig.call(deadline=1_003.0))
    await rig.clock.run(3)
    with pytest.raises(TotalTimeout):
        await task


@pytest.mark.parametrize("script", [asyncio.Event, None], ids=["before the head", "before the first event"])
async def test_a_hang_up_before_the_first_event_is_nobodys_fault(script):
    answers = [asyncio.Event()] if script else [(200, SSE, [asyncio.Event()])]
    rig = Rig("a", "b", a=answers, b=[(200, SSE, WHOLE)])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    rig.made.stopped = CallerGone()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.transport.asked == ["a"], "nobody waits for another attempt"
    assert rig.pool["a"].settlements[0].outcome is Outcome.IGNORED
    assert (rig.row.status, rig.row.finish, rig.row.billed) == (499, "hang_up", True)
    assert all(body.closed for body in rig.transport.bodies)
    rig.assert_quiet()


async def test_a_hang_up_in_mid_stream_is_billed_for_what_was_generated():
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL + LO, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.row.usage == Usage(prompt=5, completion=2)
    assert (rig.row.outcome, rig.row.finish, rig.row.usage_source) == (Outcome.IGNORED, "hang_up", "upstream")
    assert rig.transport.bodies[0].closed
    rig.assert_quiet()


async def test_a_call_stopped_by_the_house_says_so():
    rig = Rig("a", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    task = asyncio.ensure_future(rig.call(streams=True))
    await settle()
    rig.made.stopped = ShuttingDown()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.row.status, rig.row.error_code, rig.row.finish) == (503, "shutting_down", "stopped")


async def test_a_refused_call_takes_nothing_and_has_no_row():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    rig.guard.refusal = RateLimitExceeded()
    with pytest.raises(RateLimitExceeded):
        await rig.call()
    assert (rig.ledger.opened, rig.ledger.rows, rig.transport.asked) == ([], {}, [])
    assert rig.ear.rejections == [rig.guard.refusal]


async def test_a_bug_in_a_guard_is_told_as_the_500_that_the_caller_gets():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    rig.guard.refusal = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await rig.call()
    assert [error.status for error in rig.ear.rejections] == [500]


@pytest.mark.parametrize("stopped", [None, CallerGone(), ShuttingDown()], ids=["gone", "left", "draining"])
async def test_a_call_that_ends_while_its_limits_are_asked_is_told_too(stopped):
    rig = Rig("a", a=[(200, JSON, [answer()])])
    rig.guard.admit = lambda call: asyncio.Event().wait()
    task = asyncio.ensure_future(rig.call())
    await settle()
    rig.made.stopped = stopped
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (told,) = rig.ear.rejections
    assert told is stopped if stopped else isinstance(told, CallerGone)


async def test_no_new_call_is_admitted_while_the_ledger_is_overdue():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    rig.ledger.overdue = True
    with pytest.raises(StorageUnavailable):
        await rig.call()
    assert (rig.guard.settlements, rig.ledger.opened, rig.transport.asked) == ([], [], [])
    assert isinstance(rig.ear.rejections[0], StorageUnavailable)
    rig.ledger.overdue = False
    assert await rig.call()


async def test_a_full_pool_is_overloaded_and_void():
    rig = Rig(a=[])
    rig.pool.error = Overloaded(retry_after=3)
    with pytest.raises(Overloaded):
        await rig.call()
    assert not rig.row.billed
    rig.assert_quiet()


async def test_a_fallback_serves_when_nobody_of_the_model_can():
    rig = Rig(
        "a", model=Model("m", fallbacks=("absent", "spare")), a=[ConnectFailed()], z=[(200, JSON, [answer()])]
    )
    rig.pools.by_model["spare"] = FakePool("z", model="spare")
    body = json.loads(await rig.call())
    assert body["model"] == "spare"
    assert rig.made.target == "spare"


async def test_a_fallback_never_hides_what_was_wrong_with_the_request():
    rig = Rig(
        "a",
        model=Model("m", fallbacks=("spare",)),
        a=[(400, JSON, [error_body(400, "BadRequestError")])],
        z=[(200, JSON, [answer()])],
    )
    rig.pools.by_model["spare"] = FakePool("z", model="spare")
    with pytest.raises(EndpointRejected):
        await rig.call()


async def test_without_a_working_fallback_the_last_word_stands():
    rig = Rig("a", model=Model("m", fallbacks=("spare",)), a=[ConnectFailed()], z=[ConnectTimeout()])
    rig.pools.by_model["spare"] = FakePool("z", model="spare")
    with pytest.raises(ConnectTimeout):
        await rig.call()


async def test_a_model_that_left_meanwhile_is_not_found():
    rig = Rig("a", a=[(200, JSON, [answer()])])
    del rig.pools.by_model["m"]
    with pytest.raises(ModelNotFound):
        await rig.call()
    rig.assert_quiet()


async def test_a_bug_is_settled_too():
    rig = Rig("a", a=[ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        await rig.call()
    assert (rig.row.status, rig.row.billed) == (500, False)
    rig.assert_quiet()


async def test_events_after_the_end_are_ignored_and_billed_once():
    rig = Rig("a", a=[(200, SSE, [*WHOLE, HEL, DONE])])
    text = await rig.call(streams=True)
    assert text.count(DONE) == 1
    assert text.endswith(DONE)
    assert rig.row.usage.completion == 3
    assert rig.transport.bodies[0].closed, "such a connection is not used again"


async def test_a_row_that_cannot_be_made_durable_keeps_the_end_back():
    rig = Rig("a", a=[(200, SSE, WHOLE)])
    rig.ledger.durable = asyncio.get_running_loop().create_future()
    rig.ledger.durable.set_exception(StorageUnavailable())
    with pytest.raises(StorageUnavailable):
        await rig.call(streams=True)
    assert DONE not in rig.received
