from __future__ import annotations

import pytest

from tests.line import DONE, HEL, ROLE, answer
from tests.scripted import ANSWERS, CLOSED, REFUSED, SILENT, STREAMS, fails, says, scripted, streams

BUSY = fails(503, "Service Unavailable")
TWO = {"retry": {"max_attempts": 2}}


@pytest.fixture(params=["respx", "direct"])
def kind(request):
    return request.param


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "bad",
    [
        REFUSED,
        CLOSED,
        BUSY,
        fails(429, "RateLimitError"),
        fails(503, "elastic", retry_after="1"),
        fails(500),
        fails(401),
        fails(403),
        fails(404, "NotFoundError", param="model"),
        says(b"<html>", 302, location="http://127.0.0.1:1/"),
        says(b"not json", 200),
    ],
    ids=[
        "u01 refused",
        "u18 closed",
        "u30 busy",
        "u31 429",
        "u30 503",
        "u28 500",
        "u33 401",
        "u33 403",
        "u34 404",
        "u23 redirect",
        "u35 garbage",
    ],
)
async def test_another_endpoint_answers_for_the_one_that_fails(kind, bad, stream):
    good = STREAMS if stream else ANSWERS
    async with scripted(kind, bad, good) as (gateway, (first, second)):
        reply = await gateway.ask(stream=stream)
        assert reply.status_code == 200
        assert reply.text.endswith("data: [DONE]\n\n") if stream else reply.json()["usage"]
        assert len(second.asked) == 1
        row = await gateway.row()
        assert (row.state, row.endpoint, row.completion_tokens) == ("settled", "gpu-b", 3)
        assert row.attempts == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_u32_callers_own_mistake_is_asked_once_and_passed_on(kind, status, stream):
    refusal = fails(status, "BadRequestError", "too hot", "temperature")
    async with scripted(kind, refusal, refusal) as (gateway, endpoints):
        reply = await gateway.ask(stream=stream)
        assert (reply.status_code, reply.content) == (status, refusal.parts[0])
        assert sum(len(endpoint.asked) for endpoint in endpoints) == 1
        assert (await gateway.row()).state == "void"


async def test_in_band_error_before_any_event_is_tried_elsewhere(kind):
    dying = streams(
        b'data: {"error": {"message": "x", "type": "InternalServerError", "param": null, "code": 500}}\n\n',
        DONE,
    )
    async with scripted(kind, dying, STREAMS) as (gateway, (first, second)):
        reply = await gateway.ask(stream=True)
        assert reply.text.endswith("data: [DONE]\n\n")
        assert "error" not in reply.text
        assert (len(first.asked), len(second.asked)) == (1, 1)


async def test_nothing_is_tried_elsewhere_after_the_first_event(kind):
    async with scripted(kind, streams(ROLE, HEL, end="cut"), STREAMS) as (gateway, (first, second)):
        reply = await gateway.ask(stream=True)
        assert reply.status_code == 200
        assert '"upstream_error"' in reply.text
        assert "[DONE]" not in reply.text
        assert second.asked == []
        row = await gateway.row()
        assert (row.endpoint, row.completion_tokens, row.finish) == ("gpu-a", 1, "cut")


async def test_costly_failures_end_after_max_attempts(kind):
    async with scripted(kind, *[fails(500)] * 4, resilience=TWO) as (gateway, endpoints):
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
        assert reply.headers["x-should-retry"] == "false"
        assert sum(len(endpoint.asked) for endpoint in endpoints) == 2


async def test_free_failures_end_only_with_the_fleet(kind):
    async with scripted(kind, *[BUSY] * 4, ANSWERS, resilience=TWO) as (gateway, endpoints):
        assert (await gateway.ask()).status_code == 200
        assert [len(endpoint.asked) for endpoint in endpoints] == [1, 1, 1, 1, 1]


async def test_u28_retries_stop_when_their_budget_is_spent(kind):
    """Three a second may be saved up for ten seconds; beyond that a storm of 500s is not doubled."""
    deaf = {"breaker": {"minimum_calls": 1000, "sliding_window_size": 1000}}
    async with scripted(kind, *[fails(500)] * 2, resilience=deaf) as (gateway, endpoints):
        for _ in range(60):
            assert (await gateway.ask()).status_code == 502
        assert 60 + 30 <= sum(len(endpoint.asked) for endpoint in endpoints) <= 60 + 30 + 6 + 3


async def test_silent_endpoint_is_not_asked_twice(kind):
    """It may be working: a timeout is the end of the call."""
    short = {"timeouts": {"first_byte": 0.2}}
    async with scripted(kind, SILENT, STREAMS, resilience=short) as (gateway, (first, second)):
        reply = await gateway.ask(stream=True)
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "upstream_first_byte_timeout")
        assert reply.headers["x-should-retry"] == "false"
        assert second.asked == []
        await first.left.wait()
        row = await gateway.row()
        assert (row.state, row.finish, row.usage_source) == ("settled", "timeout", "estimated")


async def test_callers_bytes_never_go_to_two_endpoints_with_different_contents(kind):
    async with scripted(kind, fails(500), ANSWERS) as (gateway, (first, second)):
        await gateway.ask(temperature=0.5, vendor={"a": [1, 2]})
        assert first.asked[0][1] == second.asked[0][1]
        assert first.asked[0][0]["x-request-id"] == second.asked[0][0]["x-request-id"]


async def test_u34_endpoint_whose_model_is_gone_is_left_out_until_it_lists_it_again(kind):
    gone = fails(404, "NotFoundError", param="model")
    async with scripted(kind, gone, ANSWERS) as (gateway, (first, second)):
        for _ in range(4):
            assert (await gateway.ask()).status_code == 200
        assert (len(first.asked), len(second.asked)) == (1, 4)
        assert gateway.house.fleet.endpoints["gpu-a"].breaker.state == "closed"


async def test_answer_with_another_length_of_usage_is_what_is_booked(kind):
    async with scripted(kind, says(answer(tokens=17))) as (gateway, _):
        await gateway.ask()
        assert (await gateway.row()).completion_tokens == 17
