"""Endpoints that understand less of how usage is asked for than vLLM does now."""

from __future__ import annotations

import json

import pytest

from tests.line import DONE, answer, error_body, event
from tests.scripted import Act, Listening, fails, says, scripted, streams

ROLE, HEL, LO, STOP = (
    event({"role": "assistant", "content": ""}),
    event({"content": "Hel"}),
    event({"content": "lo"}),
    event({}, finish="stop"),
)
FINAL = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":5,"total_tokens":8,"completion_tokens":3}}\n\n'
)
COUNTED = streams(ROLE, HEL, LO, STOP, DONE)
FINALLY = streams(ROLE, HEL, LO, STOP, FINAL, DONE)
NO_CONTINUOUS = fails(400, "BadRequestError", "Extra inputs are not permitted: continuous_usage_stats")
NO_OPTIONS = fails(422, "Bad Request", "unexpected keyword", "stream_options")
JSON_BY_STREAM = {"model_config": {"tiny": {"json_upstream": "stream"}}}


@pytest.fixture(params=["respx", "direct"])
def kind(request):
    return request.param


def in_band(act: Act) -> Act:
    return streams(b"data: " + act.parts[0] + b"\n\n" + DONE)


def wishes(endpoint: Listening) -> list[dict | None]:
    return [body.get("stream_options") for _, body in endpoint.asked]


BOTH = {"include_usage": True, "continuous_usage_stats": True}
LAST = {"include_usage": True}


@pytest.mark.parametrize("refusal", [NO_CONTINUOUS, in_band(NO_CONTINUOUS)], ids=["head", "in-band"])
async def test_running_usage_refused_is_asked_for_no_more(kind, refusal):
    async with scripted(kind, (refusal, FINALLY)) as (gateway, (endpoint,)):
        for _ in range(2):
            assert (await gateway.ask(stream=True)).text.endswith("data: [DONE]\n\n")
        assert wishes(endpoint) == [BOTH, LAST, LAST]
        for row in await gateway.rows():
            assert (row.usage_source, row.completion_tokens, row.attempts) == ("upstream", 3, 1)


async def test_no_usage_at_all_is_asked_for_where_even_that_is_refused(kind):
    async with scripted(kind, (NO_OPTIONS, NO_OPTIONS, COUNTED)) as (gateway, (endpoint,)):
        for _ in range(2):
            assert (await gateway.ask(stream=True)).text.endswith("data: [DONE]\n\n")
        assert wishes(endpoint) == [BOTH, LAST, None, None]
        for row in await gateway.rows():
            assert (row.usage_source, row.completion_tokens, row.attempts) == ("counted", 2, 1)


async def test_a_json_answer_is_asked_for_as_such_where_streams_say_no_usage(kind):
    whole = says(answer())
    async with scripted(kind, (NO_OPTIONS, NO_OPTIONS, whole), **JSON_BY_STREAM) as (gateway, (endpoint,)):
        for _ in range(2):
            assert (await gateway.ask()).json()["usage"]["completion_tokens"] == 3
        assert wishes(endpoint) == [BOTH, LAST, None, None]
        assert ["stream" in body for _, body in endpoint.asked] == [True, True, False, False]
        for row in await gateway.rows():
            assert (row.usage_source, row.completion_tokens, row.attempts) == ("upstream", 3, 1)


async def test_a_json_answer_is_asked_for_as_such_once_a_stream_kept_its_usage_to_itself(kind):
    async with scripted(kind, (COUNTED, says(answer())), **JSON_BY_STREAM) as (gateway, (endpoint,)):
        assert (await gateway.ask()).json()["usage"] is None
        assert (await gateway.ask()).json()["usage"]["completion_tokens"] == 3
        assert ["stream" in body for _, body in endpoint.asked] == [True, False]
        assert [row.usage_source for row in await gateway.rows()] == ["counted", "upstream"]


async def test_running_usage_ignored_leaves_the_last_word(kind):
    async with scripted(kind, FINALLY) as (gateway, _):
        await gateway.ask(stream=True)
        row = await gateway.row()
        assert (row.usage_source, row.prompt_tokens, row.completion_tokens) == ("upstream", 5, 3)


@pytest.mark.parametrize("accounting", ["exact", "final"])
async def test_without_running_usage_a_cut_stream_is_counted(kind, accounting):
    model = {"model_config": {"tiny": {"accounting": accounting}}}
    async with scripted(kind, streams(ROLE, HEL, LO, end="cut"), **model) as (gateway, (endpoint,)):
        assert '"upstream_error"' in (await gateway.ask(stream=True)).text
        assert wishes(endpoint) == [BOTH if accounting == "exact" else LAST]
        row = await gateway.row()
        assert (row.state, row.usage_source, row.completion_tokens) == ("settled", "counted", 2)
        assert row.prompt_tokens > 0


async def test_a_caller_who_asks_for_running_usage_gets_it_with_final_accounting_too(kind):
    model = {"model_config": {"tiny": {"accounting": "final"}}}
    async with scripted(kind, FINALLY, **model) as (gateway, (endpoint,)):
        await gateway.ask(stream=True, stream_options=BOTH)
        assert wishes(endpoint) == [BOTH]


async def test_a_mistake_of_the_callers_teaches_nothing(kind):
    echo = fails(400, "BadRequestError", "bad messages: tell me of stream_options")
    async with scripted(kind, (echo, echo, echo, FINALLY)) as (gateway, (endpoint,)):
        refused = await gateway.ask(stream=True)
        assert (refused.status_code, refused.content) == (400, echo.parts[0])
        assert (await gateway.ask(stream=True)).status_code == 200
        assert wishes(endpoint) == [BOTH, LAST, None, BOTH]


async def test_a_refusal_of_something_else_is_passed_on_at_once(kind):
    other = says(error_body(400, "BadRequestError", "too hot", "temperature"), 400)
    async with scripted(kind, other) as (gateway, (endpoint,)):
        assert (await gateway.ask(stream=True)).status_code == 400
        assert (await gateway.ask()).status_code == 400
        assert len(endpoint.asked) == 2
        assert json.loads(other.parts[0])["error"]["param"] == "temperature"
