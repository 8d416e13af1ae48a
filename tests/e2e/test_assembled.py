"""JSON answers that come from a stream: the caller sees no difference, the ledger sees every token."""

from __future__ import annotations

import json

import pytest

from app.simulator import Simulator
from tests.house import at, calls, chat, running, until

STREAMED = {"model_config": {"tiny": {"json_upstream": "stream"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def asked(simulator: Simulator) -> list[dict]:
    return [json.loads(record.body) for record in calls(simulator)]


def same(one: bytes, other: bytes) -> bool:
    return plain(json.loads(one)) == plain(json.loads(other))


def plain(content: dict) -> list:
    """The answer as ordered pairs, without what differs from call to call."""

    def walk(value):
        if isinstance(value, dict):
            return [
                (
                    key,
                    "*"
                    if key in {"id", "created", "model"} or key.endswith(("_ms", "_second"))
                    else walk(inner),
                )
                for key, inner in value.items()
            ]
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return walk(content)


@pytest.mark.parametrize("parser", [False, True], ids=["plain", "reasoning"])
@pytest.mark.parametrize(
    "request_",
    [
        chat("hello"),
        chat("think"),
        chat("unicode"),
        chat("hello", stop=["random"]),
        chat("hello", max_tokens=3),
        chat("short", n=3, temperature=0.5, seed=1),
        chat("weather in Paris", tools=[TOOL]),
        chat("weather in both cities", tools=[TOOL]),
        chat("weather in Paris", tools=[TOOL], tool_choice=NAMED),
        chat("weather in Paris", tools=[TOOL], tool_choice="required"),
        chat("think", include_reasoning=False),
    ],
    ids=lambda body: "-".join([body["messages"][0]["content"], *list(body)[2:]]).replace(" ", "_"),
)
async def test_a_chat_answer_is_the_same_either_way(request_, parser):
    options = {"prompt_tokens_details": True, "reasoning_parser": parser, "per_request_metrics": True}
    simulator = Simulator(ttft=0, itl=0, prefix_cache=False, served_names=("tiny", "direct"), **options)
    async with running([simulator], **STREAMED) as gateway:
        replies = [
            await gateway.post(
                "/v1/chat/completions", request_ | {"model": model, "temperature": 0.5, "seed": 1}
            )
            for model in ("tiny", "direct")
        ]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert same(replies[0].content, replies[1].content), [reply.text for reply in replies]
        assert [body.get("stream") for body in asked(simulator)] == [True, None]
        rows = await gateway.rows()
        assert rows[0].usage_source == "upstream"
        assert [row.completion_tokens for row in rows] == [record.generated for record in calls(simulator)]
        assert rows[0].reasoning_tokens == rows[1].reasoning_tokens
        assert rows[0].finish == rows[1].finish


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": "hello", "max_tokens": 5},
        {"prompt": ["hello", "count to ten please"], "max_tokens": 6, "n": 2, "temperature": 1},
        {"prompt": [1, 1505, 201], "max_tokens": 3, "return_token_ids": True},
        {"prompt": "unicode", "max_tokens": 40, "logprobs": 2},
    ],
    ids=["text", "list", "ids", "logprobs"],
)
async def test_a_completion_is_the_same_either_way(request_):
    simulator = Simulator(ttft=0, itl=0, prefix_cache=False, served_names=("tiny", "direct"))
    async with running([simulator], **STREAMED) as gateway:
        one, other = [
            await gateway.post("/v1/completions", {"seed": 1, "temperature": 0} | request_ | {"model": model})
            for model in ("tiny", "direct")
        ]
        assert (one.status_code, other.status_code) == (200, 200)
        assert same(one.content, other.content), (one.text, other.text)
        assert [body.get("stream") for body in asked(simulator)] == [True, None]
        first, second = await gateway.rows()
        assert (first.prompt_tokens, first.completion_tokens) == (
            second.prompt_tokens,
            second.completion_tokens,
        )


@pytest.mark.parametrize("extra", [{"logprobs": True}, {"return_token_ids": True}, {"echo": True}])
async def test_what_streams_do_not_carry_comes_as_json(extra):
    simulator = Simulator(ttft=0, itl=0)
    async with running([simulator], **STREAMED) as gateway:
        assert (await gateway.ask("unicode", **extra)).status_code == 200
        assert "stream" not in asked(simulator)[0]


async def test_vllms_own_refusal_of_stream_options_is_heard():
    async with running([Simulator(ttft=0, itl=0)], **STREAMED) as gateway:
        reply = await gateway.ask(stream_options={"include_usage": True})
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "stream_options"


async def test_a_hang_up_is_billed_what_the_engine_had_sent():
    simulator = Simulator(ttft=0, itl=0)
    async with running([simulator], **STREAMED) as gateway:
        simulator.faults.add("stall", after_tokens=7)
        caller = await gateway.caller()
        caller.say(gateway.request("20 tokens"))
        live = gateway.house.hearing.inflight._calls.values()
        await until(lambda: [call for call, _ in live if call.counted[0].completion == 7])
        caller.hang_up()
        await until(lambda: not live)
        row = await gateway.row()
        (record,) = calls(simulator)
        assert (row.state, row.usage_source, row.finish) == ("settled", "upstream", "hang_up")
        assert (row.prompt_tokens, row.completion_tokens) == (record.prompt_tokens, record.sent)


async def test_an_engine_that_is_shut_down_is_left_for_another():
    first, second = Simulator(ttft=0, itl=0), Simulator(ttft=0, itl=0)
    async with running([first, at(second, tier=1)], **STREAMED) as gateway:
        first.faults.add("abort", after_tokens=5)
        reply = await gateway.ask("20 tokens")
        assert reply.json()["choices"][0]["finish_reason"] == "stop"
        row = await gateway.row()
        assert (row.endpoint, row.attempts, row.usage_source) == ("gpu-b", 2, "upstream")
        assert row.wasted_tokens == calls(first)[0].sent
        assert row.completion_tokens == calls(second)[0].generated
