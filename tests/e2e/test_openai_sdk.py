from __future__ import annotations

import json
import time

import openai
import pytest
from pydantic import BaseModel

from app.simulator import Simulator
from tests.house import calls, running, until

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = [{"role": "user", "content": "weather in Paris"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


@pytest.fixture
async def gateway():
    async with running([Simulator(ttft=0.005, itl=0.001), Simulator(ttft=0.005, itl=0.001)]) as gateway:
        yield gateway


def records(gateway):
    return calls(*gateway.simulators)


def record(gateway):
    (only,) = records(gateway)
    return only


async def test_models_are_listed_and_retrieved(gateway):
    models = await gateway.sdk.models.list()
    assert [model.id for model in models.data] == ["tiny"]
    model = await gateway.sdk.models.retrieve("tiny")
    assert model.max_model_len == 32768
    with pytest.raises(openai.NotFoundError):
        await gateway.sdk.models.retrieve("nope")


async def test_chat_answers_and_its_usage_is_what_the_engine_counted(gateway):
    answer = await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO)
    truth = record(gateway)
    assert answer.model == "tiny"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content.startswith("Hello")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        truth.prompt_tokens,
        truth.generated,
    )
    row = await gateway.row()
    assert (row.state, row.usage_source, row.finish) == ("settled", "upstream", "stop")
    assert (row.prompt_tokens, row.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_stream_shows_no_usage_that_was_not_asked_for(gateway):
    stream = await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith("Hello")
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    truth, row = record(gateway), await gateway.row()
    assert (row.usage_source, row.prompt_tokens, row.completion_tokens) == (
        "upstream",
        truth.prompt_tokens,
        truth.generated,
    )


async def test_stream_shows_the_usage_that_was_asked_for(gateway):
    stream = await gateway.sdk.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    last, truth = chunks[-1], record(gateway)
    assert not last.choices
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_stream_and_whole_answer_say_the_same(gateway):
    whole = await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO)
    async with gateway.sdk.chat.completions.stream(model="tiny", messages=HELLO) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason


async def test_tools_are_called(gateway):
    answer = await gateway.sdk.chat.completions.create(model="tiny", messages=WEATHER, tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] == "Paris"
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_tools_are_called_in_a_stream(gateway):
    stream = await gateway.sdk.chat.completions.create(
        model="tiny", messages=WEATHER, tools=TOOLS, stream=True
    )
    name, arguments, finish = "", "", None
    async for chunk in stream:
        choice = chunk.choices[0]
        finish = choice.finish_reason or finish
        for call in choice.delta.tool_calls or ():
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, json.loads(arguments)["city"], finish) == ("get_weather", "Paris", "tool_calls")
    row, truth = await gateway.row(), record(gateway)
    assert (row.finish, row.completion_tokens) == ("tool_calls", truth.generated)


async def test_json_schema_is_kept_to(gateway):
    class City(BaseModel):
        name: str
        population: int

    answer = await gateway.sdk.chat.completions.parse(
        model="tiny", messages=[{"role": "user", "content": "A city, please"}], response_format=City
    )
    assert isinstance(answer.choices[0].message.parsed, City)
    assert json.loads(record(gateway).body)["response_format"]["type"] == "json_schema"


async def test_two_choices_cost_their_prompt_once(gateway):
    answer = await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO, n=2, temperature=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    truth, row = record(gateway), await gateway.row()
    assert (row.prompt_tokens, row.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_two_streamed_choices_cost_their_prompt_once(gateway):
    stream = await gateway.sdk.chat.completions.create(
        model="tiny", messages=HELLO, n=2, temperature=1, stream=True
    )
    indexes = {choice.index async for chunk in stream for choice in chunk.choices}
    assert indexes == {0, 1}
    truth, row = record(gateway), await gateway.row()
    assert (row.prompt_tokens, row.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_logprobs_come_through(gateway):
    answer = await gateway.sdk.chat.completions.create(
        model="tiny", messages=HELLO, logprobs=True, top_logprobs=2
    )
    first = answer.choices[0].logprobs.content[0]
    assert len(first.top_logprobs) == 2
    assert first.logprob <= 0


async def test_reasoning_comes_through_and_is_counted():
    async with running([Simulator(reasoning_parser=True, itl=0.001)]) as gateway:
        think = [{"role": "user", "content": "think"}]
        answer = await gateway.sdk.chat.completions.create(model="tiny", messages=think)
        assert answer.choices[0].message.reasoning
        stream = await gateway.sdk.chat.completions.create(model="tiny", messages=think, stream=True)
        reasoning = "".join([getattr(c.choices[0].delta, "reasoning", None) or "" async for c in stream])
        assert reasoning == answer.choices[0].message.reasoning
        whole, streamed = await gateway.rows()
        assert whole.reasoning_tokens > 0
        assert whole.reasoning_tokens == answer.usage.completion_tokens_details.reasoning_tokens
        assert streamed.reasoning_tokens == whole.reasoning_tokens


async def test_embeddings_come_from_a_pooling_server():
    async with running([Simulator(mode="pooling", embedding_dimensions=8)]) as gateway:
        answer = await gateway.sdk.embeddings.create(model="tiny", input=["one", "two"])
        assert [len(row.embedding) for row in answer.data] == [8, 8]
        row = await gateway.row()
        assert (row.surface, row.prompt_tokens, row.completion_tokens) == (
            "embeddings",
            answer.usage.prompt_tokens,
            0,
        )


async def test_responses_answer_and_stream(gateway):
    answer = await gateway.sdk.responses.create(model="tiny", input="hello")
    assert answer.output_text.startswith("Hello")
    events = [
        event async for event in await gateway.sdk.responses.create(model="tiny", input="hello", stream=True)
    ]
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == answer.output_text
    for row, truth in zip(await gateway.rows(), records(gateway), strict=True):
        assert (row.state, row.usage_source) == ("settled", "upstream")
        assert (row.prompt_tokens, row.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_text_completions_answer_and_stream(gateway):
    answer = await gateway.sdk.completions.create(model="tiny", prompt=["hello", "count"], max_tokens=5)
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    stream = await gateway.sdk.completions.create(model="tiny", prompt="hello", max_tokens=5, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert text == answer.choices[0].text
    for row, truth in zip(await gateway.rows(), records(gateway), strict=True):
        assert (row.prompt_tokens, row.completion_tokens) == (truth.prompt_tokens, truth.generated)


async def test_abort_reaches_the_engine_at_once(gateway):
    forever = [{"role": "user", "content": "forever"}]
    stream = await gateway.sdk.chat.completions.create(model="tiny", messages=forever, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    left = time.time()
    await stream.close()
    await until(lambda: record(gateway).aborted is not None)
    delay = record(gateway).aborted - left
    print(f"the engine heard of the hang-up after {delay * 1000:.1f} ms")
    assert delay < 1
    row = await gateway.row()
    assert (row.status, row.finish, row.usage_source) == (499, "hang_up", "upstream")
    assert row.prompt_tokens == record(gateway).prompt_tokens
    assert 0 < row.completion_tokens <= record(gateway).generated


async def test_wrong_key_is_an_authentication_error(gateway):
    stranger = gateway.sdk.with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError) as caught:
        await stranger.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()
    assert records(gateway) == []


async def test_unknown_model_is_not_found(gateway):
    with pytest.raises(openai.NotFoundError) as caught:
        await gateway.sdk.chat.completions.create(model="nope", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_engine_s_own_refusal_is_a_bad_request_in_its_words(gateway):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO, temperature=5)
    assert caught.value.response.json()["error"]["message"].startswith("temperature")
    assert len(records(gateway)) == 1
    assert [row.state for row in await gateway.rows()] == ["void"]


async def test_limit_is_a_rate_limit_error_that_says_when_to_come_back(gateway):
    await gateway.limit(requests_per_minute=1)
    await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as caught:
        await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.code == "rate_limit_exceeded"
    headers = caught.value.response.headers
    assert 55 < int(headers["retry-after"]) <= 60
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert len(records(gateway)) == 1


async def test_sdk_that_waits_as_it_is_told_is_served(gateway):
    """60 a minute: once they are used up, the next place comes after a second."""
    await gateway.limit(requests_per_minute=60)
    for _ in range(60):
        await gateway.sdk.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "short"}]
        )
    patient = gateway.sdk.with_options(max_retries=2)
    answer = await patient.chat.completions.with_raw_response.create(
        model="tiny", messages=[{"role": "user", "content": "short"}]
    )
    assert answer.parse().choices
    assert len(records(gateway)) == 61


async def test_unknown_fields_reach_the_engine_untouched(gateway):
    extra = {"top_k": 7, "vendor": {"deep": [1, None, "ü", 123456789012345678901234567890]}}
    await gateway.sdk.chat.completions.create(model="tiny", messages=HELLO, extra_body=extra)
    sent = json.loads(record(gateway).body)
    assert {name: sent[name] for name in extra} == extra
