"""What is refused before any answer, beyond the recordings."""

from __future__ import annotations

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import ask, chat, get, post


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.0, itl=0.0, max_model_len=2048) as simulator:
        yield simulator


async def message(sim, body, path="/v1/chat/completions", status=400) -> str:
    heard = await ask(sim, post(body, path))
    assert heard.status == status
    return heard.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"max_tokens": [1]}, "int_type"),
        ({"temperature": "warm"}, "float_parsing"),
        ({"temperature": [1]}, "float_type"),
        ({"stream": "maybe"}, "bool_parsing"),
        ({"stop": {}}, "string_type"),
        ({"logit_bias": []}, "dict_type"),
        ({"stop": 5}, "list_type"),
        ({"response_format": "x"}, "dict_type"),
        ({"messages": ["x"]}, "dict_type"),
    ],
)
async def test_types_are_checked(sim, fields, complaint):
    assert f"'type': '{complaint}'" in await message(sim, chat("short") | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 3.0},
        {"max_tokens": True},
        {"temperature": "0.5"},
        {"stream": "false"},
        {"stream": 0},
        {"stop": "x"},
        {"stop": ["x"]},
        {"response_format": {"type": "structural_tag", "format": {}}},
    ],
)
async def test_what_can_be_coerced_is(sim, fields):
    assert (await ask(sim, post(chat("short") | fields))).status == 200


@pytest.mark.parametrize("salt", ["x" * 129, "a@b", "a\x00b", 5])
async def test_salts_are_checked(sim, salt):
    assert "cache_salt" in await message(sim, chat("short", cache_salt=salt))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": [["x"]]}, "string_type"),
        ({"prompt": "x", "stream_options": {}, "n": "x"}, "int_parsing"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "Stream options can only be defined"),
        ({"prompt": "x", "cache_salt": ""}, "cache_salt"),
    ],
)
async def test_completions_are_checked(sim, body, text):
    assert text in await message(sim, body, "/v1/completions")


async def test_lists_of_token_lists_are_prompts(sim):
    heard = await ask(sim, post({"prompt": [[1, 2], [3]], "max_tokens": 2}, "/v1/completions"))
    assert heard.json()["usage"] == {
        "prompt_tokens": 3,
        "total_tokens": 7,
        "completion_tokens": 4,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


async def test_methods_and_paths(sim):
    assert (await ask(sim, post({}, "/v1/responses/r/cancel"))).status == 404
    assert (await ask(sim, get("/v1/chat/completions/?a=b", host="y"))).header("location").endswith("?a=b")
    assert (await ask(sim, get("/nowhere/"))).status == 404
    allowed = (await ask(sim, post({}, "/ping").replace(b"POST", b"DELETE"))).header("allow")
    assert allowed == "GET, POST"


async def test_a_required_tool_is_called_with_arguments_of_its_schema(sim):
    schema = {"type": "object", "properties": {"days": {"type": "integer"}, "place": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "forecast", "parameters": schema}}]
    for choice in ("required", {"type": "function", "function": {"name": "forecast"}}):
        body = (await ask(sim, post(chat("hello", tools=tools, tool_choice=choice)))).json()
        function = body["choices"][0]["message"]["tool_calls"][0]["function"]
        assert function == {"name": "forecast", "arguments": '{"days": 1, "place": "tiny"}'}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes"),
        ({"structured_outputs": {"json": {"type": "integer"}}}, "1"),
        ({"structured_outputs": {"regex": "(a|b)"}}, "OK."),
        ({"response_format": {"type": "text"}}, "OK."),
    ],
)
async def test_constraints_are_obeyed_as_far_as_they_can_be(sim, fields, text):
    body = (await ask(sim, post(chat("short", **fields)))).json()
    assert body["choices"][0]["message"]["content"] == text


async def test_a_header_overrides_the_priority(sim):
    assert (await ask(sim, post(chat("short", priority=1), x_vllm_priority="-3"))).status == 200


async def test_the_pooling_server_checks_too():
    async with Simulator(mode="pooling", ttft=0.0, served_names=("e",)) as sim:
        assert (await ask(sim, post({"input": [[1, 2], [3]]}, "/v1/embeddings"))).json()["usage"][
            "prompt_tokens"
        ] == 3
        assert (await ask(sim, post({"input": [1, 2, 3]}, "/v1/embeddings"))).json()["usage"][
            "prompt_tokens"
        ] == 3
        assert (await ask(sim, post({"text_1": "a", "text_2": "b"}, "/score"))).json()["data"][0]["score"] < 1
        sim.unload()
        assert (await ask(sim, post({"input": "x"}, "/v1/embeddings"))).status == 404


@pytest.mark.parametrize("mode", ["abort", None])
async def test_the_pooling_server_can_end_in_the_middle(mode):
    async with Simulator(mode="pooling", ttft=5.0) as sim:
        if mode is None:
            sim.faults.add("error", message="no")
        else:
            sim.faults.add("abort")
        assert (await ask(sim, post({"input": "x"}, "/v1/embeddings"))).status == 500
