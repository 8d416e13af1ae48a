"""JSON calls that go upstream as streams: what fails fails as it did, and what was generated is known."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.house import until
from tests.line import DONE, HEL, LO, ROLE, answer, event
from tests.scripted import ANSWERS, CLOSED, STREAMS, fails, says, scripted, streams

MODEL = {"model_config": {"tiny": {"json_upstream": "stream"}}}
DIED = (
    b'data: {"error": {"message": "x", "type": "InternalServerError", "param": null, "code": 500}}\n\n' + DONE
)
ABORT = event({}, finish="abort", tokens=2)


@pytest.fixture(params=["respx", "direct"])
def kind(request):
    return request.param


def brief(row) -> tuple:
    return row.state, row.usage_source, row.completion_tokens, row.wasted_tokens, row.attempts


async def test_the_caller_gets_json_and_the_endpoint_is_asked_for_a_stream(kind):
    async with scripted(kind, STREAMS, **MODEL) as (gateway, (endpoint,)):
        reply = await gateway.ask()
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        assert reply.json()["choices"][0]["message"]["content"] == "Hello"
        assert reply.json()["model"] == "tiny"
        (_, body) = endpoint.asked[0]
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
        assert brief(await gateway.row()) == ("settled", "upstream", 3, 0, 1)


async def test_an_endpoint_that_answers_json_all_the_same_is_believed(kind):
    async with scripted(kind, ANSWERS, **MODEL) as (gateway, _):
        reply = await gateway.ask()
        assert reply.json() == json.loads(answer()) | {"model": "tiny"}
        assert brief(await gateway.row()) == ("settled", "upstream", 3, 0, 1)


async def test_what_no_stream_can_say_is_asked_for_as_json(kind):
    async with scripted(kind, ANSWERS, **MODEL) as (gateway, (endpoint,)):
        assert (await gateway.ask(logprobs=True)).status_code == 200
        assert "stream" not in endpoint.asked[0][1]


@pytest.mark.parametrize(
    ("bad", "wasted"),
    [
        (streams(ROLE, HEL, LO, DIED), 2),
        (streams(ROLE, HEL, LO, end="cut"), 2),
        (streams(ROLE, HEL, LO), 2),
        (streams(ROLE, HEL, LO, ABORT, DONE), 2),
        (streams(ROLE, HEL, b"data: {\n\n"), 1),
        (streams(ROLE, DONE), 0),
        (CLOSED, 0),
        (fails(500), 0),
    ],
    ids=["in-band", "cut", "short", "abort", "garbled", "unscheduled", "closed", "500"],
)
async def test_another_endpoint_answers_and_what_the_first_one_made_is_waste(kind, bad, wasted):
    async with scripted(kind, bad, STREAMS, **MODEL) as (gateway, endpoints):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["usage"]["completion_tokens"]) == (200, 3)
        assert [len(endpoint.asked) for endpoint in endpoints] == [1, 1]
        assert brief(await gateway.row()) == ("settled", "upstream", 3, wasted, 2)


async def test_a_json_answer_given_up_is_waste_too(kind):
    gave_up = says(answer(finish="abort", tokens=2))
    async with scripted(kind, gave_up, ANSWERS) as (gateway, _):
        assert (await gateway.ask()).status_code == 200
        assert brief(await gateway.row()) == ("settled", "upstream", 3, 2, 2)


async def test_all_of_it_is_waste_when_every_endpoint_dies(kind):
    bad = streams(ROLE, HEL, LO, DIED)
    async with scripted(kind, bad, bad, **MODEL) as (gateway, _):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
        row = await gateway.row()
        assert (row.state, row.completion_tokens, row.wasted_tokens, row.attempts) == ("void", 0, 4, 2)


async def test_a_callers_mistake_said_in_band_has_its_real_status(kind):
    said = {"message": "no", "type": "BadRequestError", "param": None, "code": 400}
    refused = streams(b"data: " + json.dumps({"error": said}).encode() + b"\n\n" + DONE)
    async with scripted(kind, refused, refused, **MODEL) as (gateway, endpoints):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["error"]) == (400, said)
        assert sum(len(endpoint.asked) for endpoint in endpoints) == 1
        assert (await gateway.row()).state == "void"


@pytest.mark.parametrize(
    ("timeouts", "code"),
    [
        ({"idle": 0.3}, "upstream_idle_timeout"),
        ({"idle": 5, "total": 0.5}, "upstream_total_timeout"),
    ],
)
async def test_silence_is_billed_with_what_was_said_before_it(kind, timeouts, code):
    stalled = streams(ROLE, HEL, LO, end="silence")
    limits = {"resilience": {"timeouts": timeouts}}
    async with scripted(kind, stalled, STREAMS, **MODEL, **limits) as (gateway, (first, second)):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, code)
        assert reply.headers["x-should-retry"] == "false"
        assert second.asked == []
        row = await gateway.row()
        assert (row.state, row.usage_source, row.finish) == ("settled", "upstream", "timeout")
        assert (row.prompt_tokens, row.completion_tokens) == (5, 2)
        await asyncio.wait_for(first.left.wait(), 5)


async def test_before_the_first_event_only_the_total_counts(kind):
    slow = {"resilience": {"timeouts": {"first_byte": 0.1, "idle": 0.1, "total": 0.5}}}
    async with scripted(kind, streams(end="silence"), **MODEL, **slow) as (gateway, _):
        reply = await gateway.ask()
        assert reply.json()["error"]["code"] == "upstream_total_timeout"


async def test_a_caller_who_leaves_is_billed_what_was_generated(kind):
    stalled = streams(ROLE, HEL, LO, end="silence")
    async with scripted(kind, stalled, **MODEL) as (gateway, (endpoint,)):
        caller = await gateway.caller()
        caller.say(gateway.request())
        calls = gateway.house.hearing.inflight._calls.values()
        await until(lambda: [call for call, _ in calls if call.counted[0].completion == 2])
        caller.hang_up()
        await asyncio.wait_for(endpoint.left.wait(), 5)
        row = await gateway.row()
        assert (row.state, row.usage_source, row.finish) == ("settled", "upstream", "hang_up")
        assert (row.prompt_tokens, row.completion_tokens) == (5, 2)


async def test_the_connection_is_kept():
    async with scripted("direct", STREAMS, **MODEL) as (gateway, _):
        assert (await gateway.ask()).status_code == 200
        (endpoint,) = gateway.house.fleet.endpoints.values()
        await until(lambda: gateway.house.transport.connections(endpoint.spec) == (1, 1))
