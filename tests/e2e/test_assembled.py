"""JSON answers that come from a stream: the caller sees no difference, the ledger sees every token."""

from __future__ import annotations

import json

import pytest

from app.simulator import Simulator
from tests.house import calls, chat, running

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
