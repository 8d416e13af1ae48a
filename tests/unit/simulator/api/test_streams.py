"""Streams beyond the recordings: forced usage, merged deltas, other surfaces, and how each ends badly."""

from __future__ import annotations

import json

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import ask, chat, get, post

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}


def named(heard) -> list[str]:
    """Names of the events of a stream that has them."""
    return [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in heard.events]


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.0, itl=0.0) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", chat("short")), ("/v1/completions", {"prompt": "x"})]
)
async def test_usage_may_be_forced_on_every_stream(path, body):
    async with Simulator(ttft=0.0, itl=0.0, force_include_usage=True) as sim:
        heard = await ask(sim, post(body | {"stream": True}, path))
    assert all("usage" in event for event in heard.data)
    assert heard.data[-1]["choices"] == []
    assert heard.data[-2]["usage"]["completion_tokens"] == heard.data[-1]["usage"]["completion_tokens"]


async def test_running_usage_needs_the_usage_chunk(sim):
    heard = await ask(sim, post(chat("short", stream=True, stream_options={"continuous_usage_stats": True})))
    assert b"usage" not in heard.body


async def test_running_usage_counts_merged_tokens(sim):
    sim.faults.add("merge_tokens", size=3)
    options = {"include_usage": True, "continuous_usage_stats": True}
    heard = await ask(sim, post(chat("forever", stream=True, max_tokens=7, stream_options=options)))
    assert [event["usage"]["completion_tokens"] for event in heard.data] == [0, 3, 6, 7, 7]


async def test_running_usage_counts_reasoning():
    async with Simulator(ttft=0.0, itl=0.0, reasoning_parser=True) as sim:
        options = {"include_usage": True, "continuous_usage_stats": True}
        heard = await ask(sim, post(chat("think", stream=True, stream_options=options)))
        await ask(sim, post(chat("think")))
    details = [event["usage"]["completion_tokens_details"]["reasoning_tokens"] for event in heard.data]
    assert (details[0], details[-1]) == (0, 36)
    assert details == sorted(details)
    assert [record.reasoning for record in sim.truth.records] == [36, 36]


@pytest.mark.parametrize("size", [2, 5, 11, 100])
async def test_merging_never_changes_what_is_said(sim, size):
    plain = await ask(sim, post(chat("weather in both cities", stream=True, tools=[TOOL])))
    sim.faults.add("merge_tokens", size=size)
    merged = await ask(sim, post(chat("weather in both cities", stream=True, tools=[TOOL])))
    assert arguments(merged) == arguments(plain) == {0: '{"city": "Paris"}', 1: '{"city": "Berlin"}'}
    assert merged.data[-1]["choices"][0]["finish_reason"] == "tool_calls"


def arguments(heard) -> dict[int, str]:
    found: dict[int, str] = {}
    for event in heard.data:
        for call in event["choices"][0]["delta"].get("tool_calls") or ():
            found[call["index"]] = found.get(call["index"], "") + call["function"].get("arguments", "")
    return found


async def test_braces_and_quotes_inside_arguments_do_not_end_them(sim):
    schema = {"type": "object", "properties": {"code": {"const": 'if (x) { say("}"); }'}}}
    tools = [{"type": "function", "function": {"name": "run", "parameters": schema}}]
    heard = await ask(sim, post(chat("hello", stream=True, tools=tools, tool_choice="required")))
    assert json.loads(arguments(heard)[0]) == {"code": 'if (x) { say("}"); }'}


async def test_text_before_a_call_is_content(sim):
    heard = await ask(sim, post(chat("short", stream=True, tools=[TOOL])))
    assert (heard.text, arguments(heard)) == ("OK.", {})


async def test_a_last_token_of_a_call_leaves_an_empty_delta(sim):
    heard = await ask(sim, post(chat("weather", stream=True, tools=[TOOL], max_tokens=20)))
    last = heard.data[-1]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({}, "length")


async def test_completions_echo_and_show_ids_and_logprobs(sim):
    body = {
        "prompt": "hello",
        "max_tokens": 2,
        "stream": True,
        "echo": True,
        "logprobs": 2,
        "return_token_ids": True,
    }
    heard = await ask(sim, post(body, "/v1/completions"))
    first, second = (event["choices"][0] for event in heard.data)
    assert (first["text"], second["text"]) == ("hello!", " I")
    assert first["prompt_token_ids"] == [3568, 365]
    assert second["prompt_token_ids"] is None
    assert len(second["token_ids"]) == len(second["logprobs"]["tokens"]) == 1
    assert second["logprobs"]["text_offset"] == [6]


async def test_ids_of_whole_answers(sim):
    body = (await ask(sim, post(chat("short", return_token_ids=True)))).json()
    assert (len(body["prompt_token_ids"]), body["choices"][0]["token_ids"]) == (11, [49, 45, 16, 2])
    body = (await ask(sim, post({"prompt": "x", "return_token_ids": True}, "/v1/completions"))).json()
    assert len(body["choices"][0]["token_ids"]) == 16


async def test_measured_completions():
    async with Simulator(ttft=0.01, itl=0.002, per_request_metrics=True) as sim:
        options = {"stream_options": {"include_usage": True}}
        heard = await ask(sim, post({"prompt": "x", "stream": True, **options}, "/v1/completions"))
        many = (await ask(sim, post(chat("short", n=2)))).json()
    assert heard.data[-1]["metrics"]["time_to_first_token_ms"] >= 9
    assert many["metrics"] is None


async def test_thinking_in_other_surfaces():
    async with Simulator(ttft=0.0, itl=0.0, reasoning_parser=True) as sim:
        message = await ask(sim, post(chat("think", stream=True, max_tokens=99), "/v1/messages"))
        response = await ask(sim, post({"input": "think", "stream": True}, "/v1/responses"))
        cut = (await ask(sim, post({"input": "think", "max_output_tokens": 5}, "/v1/responses"))).json()
    assert b"thinking_delta" in message.body
    assert b"signature_delta" in message.body
    assert named(message).count("content_block_start") == 2
    assert "response.reasoning_text.done" in named(response)
    assert named(response)[-1] == "response.completed"
    assert (cut["status"], [item["type"] for item in cut["output"]]) == ("incomplete", ["reasoning"])


async def test_tools_stops_and_systems_of_messages(sim):
    tools = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    heard = await ask(sim, post(chat("weather", stream=True, max_tokens=99, tools=tools), "/v1/messages"))
    assert b"input_json_delta" in heard.body
    assert b'"stop_reason":"tool_use"' in heard.body
    body = {"max_tokens": 50, "system": "be kind", "stop_sequences": ["tiny"]}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    answer = (await ask(sim, post({"messages": messages, **body}, "/v1/messages"))).json()
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "tiny")
    stream = await ask(sim, post({"messages": messages, **body, "stream": True}, "/v1/messages"))
    assert b'"stop_sequence":"tiny"' in stream.body


async def test_inputs_of_responses(sim):
    items = [{"role": "user", "content": [{"type": "input_text", "text": "short"}]}, "short"]
    body = {"input": items, "instructions": "be kind"}
    assert (await ask(sim, post(body, "/v1/responses"))).json()["output"][0]["content"][0]["text"] == "OK."


SURFACES = [
    ("/v1/chat/completions", chat("forever")),
    ("/v1/completions", {"prompt": "forever", "max_tokens": 500}),
    ("/v1/responses", {"input": "forever"}),
    ("/v1/messages", chat("forever", max_tokens=500)),
]


@pytest.mark.parametrize(("path", "body"), SURFACES)
@pytest.mark.parametrize("stream", [True, False])
async def test_every_surface_can_fail_in_the_middle(sim, path, body, stream):
    sim.faults.add("error", after_tokens=3)
    heard = await ask(sim, post(body | {"stream": stream}, path))
    assert heard.status == (200 if stream else 500)
    assert heard.complete
    assert b"rror" in heard.events[-2 if heard.done else -1]


@pytest.mark.parametrize(("path", "body"), SURFACES)
@pytest.mark.parametrize("stream", [True, False])
async def test_every_surface_can_be_aborted(sim, path, body, stream):
    sim.faults.add("abort", after_tokens=3)
    heard = await ask(sim, post(body | {"stream": stream}, path))
    assert (heard.status, heard.complete, sim.truth.last.finish) == (200, True, ["abort"])


@pytest.mark.parametrize(("path", "body"), SURFACES)
async def test_every_surface_ends_a_waiting_stream_at_a_shutdown(sim, path, body):
    sim.adjust(max_num_seqs=1, ttft=5.0)
    sim.instance.pause()
    sim.faults.add("abort", after_tokens=0)
    heard = await ask(sim, post(body | {"stream": True}, path))
    assert (heard.status, heard.complete) == (200, True)
    assert b"abort" not in heard.body


async def test_a_dead_engine_refuses_whoever_comes(sim):
    sim.instance.kill_engine()
    for path, body in SURFACES:
        assert (await ask(sim, post(body, path))).status == 500
    assert (await ask(sim, get("/health"))).status == 503


async def test_without_parsers_empty_deltas_are_sent():
    async with Simulator(ttft=0.0, itl=0.0, tool_parser=False) as sim:
        heard = await ask(sim, post(chat("unicode", stream=True)))
        assert b"tool_call_parser" not in (await ask(sim, get("/metrics"))).body
    assert len(heard.data) == 1 + 82
    assert heard.data[-1]["choices"][0]["delta"] == {"content": ""}


async def test_continued_message_is_carried_on_and_its_text_is_prompt(sim):
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    whole = await ask(sim, post(chat("short", **usage)))
    begun = [*chat("short")["messages"], {"role": "assistant", "content": "O"}]
    body = chat("short", **usage) | {
        "messages": begun,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    rest = await ask(sim, post(body))
    texts = [
        "".join(choice["delta"].get("content", "") for event in heard.data for choice in event["choices"])
        for heard in (whole, rest)
    ]
    assert texts == ["OK.", "K."]
    before, after = whole.data[-1]["usage"], rest.data[-1]["usage"]
    assert after["prompt_tokens"] == before["prompt_tokens"] + 1
    assert after["completion_tokens"] == before["completion_tokens"] - 1


async def test_prompt_of_token_ids_is_carried_on_too(sim):
    ids = json.loads((await ask(sim, post({"prompt": "be short: OK"}, "/tokenize"))).body)["tokens"]
    heard = await ask(sim, post({"prompt": ids, "max_tokens": 9}, "/v1/completions"))
    answer = json.loads(heard.body)
    assert (answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]) == (".", len(ids))
