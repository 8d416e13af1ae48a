"""JSON answers put together from streams, against recordings of both."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.outcome import Usage
from app.wire.assembled import assembles
from app.wire.assembly import Assembly
from app.wire.stream import StreamReader
from tests.unit.wire.disassembly import stream_of
from tests.unit.wire.streams import CHAT, COMPLETIONS, DONE, chunk, event, final, recordings, role, text, used

ANSWERS = {
    one.name: one
    for one in recordings(streamed=False)
    if one.path in {"/v1/chat/completions", "/v1/completions"}
}
STREAMS = {
    one.name: one
    for one in recordings(streamed=True)
    if one.path in {"/v1/chat/completions", "/v1/completions"} and b'"error"' not in one.body
}
PAIRS = [
    ("chat_stream_usage", "chat_nonstream_short"),
    ("chat_stream_usage_continuous", "chat_nonstream_short"),
    ("chat_stream_long", "chat_nonstream"),
    ("chat_stop_stream", "chat_stop"),
    ("chat_utf8_stream", "chat_utf8"),
    ("chat_think_stream", "chat_think"),
    ("chat_n2_stream", "chat_n2"),
    ("chat_tool_auto_stream", "chat_tool_auto"),
    ("chat_tool_named_stream", "chat_tool_named"),
    ("chat_tool_parallel_stream", "chat_tool_parallel"),
    ("chat_stream_logprobs", "chat_logprobs"),
    ("reasonq3_stream_think", "reasonq3_think"),
    ("reasonq3_stream_think_noinclude", "reasonq3_think_noinclude"),
    ("reasonq3_stream_nothink_default", "reasonq3_nothink_default"),
    ("reasonq3_stream_nothink_disabled", "reasonq3_nothink_disabled"),
    ("per_request_metrics_stream", "per_request_metrics"),
    ("prefix_second_stream", "prefix_second"),
]
_DIFFERS = re.compile(
    rb'"(id|created|time_to_first_token_ms|generation_time_ms|queue_time_ms|mean_itl_ms|tokens_per_second)":'
    rb'("[^"]*"|[0-9.e-]+)'
)


def assembled(stream: bytes, surface=CHAT, body=None, *, model=None, edges=(), **choices) -> tuple:
    assembly = Assembly(surface.dialect, body or {})
    reader = StreamReader(surface, assembly=assembly, **choices)
    for a, b in pairwise([0, *sorted(edges), len(stream)]):
        assert b"data" not in reader.feed(stream[a:b])
    return assembly.answer(reader, model), reader


def of(recording, **more) -> tuple:
    return assembled(recording.body, recording.surface, recording.asked, **recording.choices, **more)


def alike(raw: bytes) -> bytes:
    """Without what differs from call to call: ids and times."""
    return _DIFFERS.sub(rb'"\1":"*"', raw)


@pytest.mark.parametrize(("streamed", "whole"), PAIRS)
def test_a_recorded_stream_is_the_recorded_answer_byte_for_byte(streamed, whole):
    answer, reader = of(STREAMS[streamed])
    expected = json.loads(ANSWERS[whole].body)
    if reader.usage_source != "upstream":
        expected["usage"] = None
    if streamed == "chat_stream_logprobs":
        for entry in expected["choices"][0]["logprobs"]["content"]:
            del entry["top_logprobs"][1:]
    compact = json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()
    assert alike(answer.raw) == alike(compact)
    assert answer.complete
    assert (answer.usage, answer.finish) == (reader.usage, reader.finish)


@pytest.mark.parametrize("recording", STREAMS.values(), ids=repr)
def test_every_recorded_stream_makes_an_answer(recording):
    answer, reader = of(recording, model="public")
    content = json.loads(answer.raw)
    assert answer.complete
    assert content["model"] == "public"
    assert [choice["index"] for choice in content["choices"]] == [*range(len(content["choices"]))]
    assert (content["usage"] is None) is (reader.usage_source != "upstream")


def test_token_ids_are_those_of_all_events():
    content = json.loads(of(STREAMS["chat_return_token_ids_stream"])[0].raw)
    assert content["choices"][0]["token_ids"] == [49, 45, 16, 2]
    assert content["prompt_token_ids"] == [1, 1505, 201, 2168, 2, 201, 1, 3601, 433, 745, 201]


@settings(max_examples=200)
@given(recording=st.sampled_from([*ANSWERS.values()]), data=st.data())
def test_every_recorded_answer_survives_being_streamed(recording, data):
    if not assembles(recording.surface.dialect, recording.asked, {"logprobs": None}):
        return
    expected = json.loads(recording.body)

    def cut(length: int) -> list[int]:
        return data.draw(st.lists(st.integers(0, length), max_size=6))

    answer, reader = assembled(
        stream_of(expected, cut), recording.surface, recording.asked, **recording.choices
    )
    assert answer.raw == json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()
    assert reader.complete


@settings(max_examples=150)
@given(recording=st.sampled_from([*STREAMS.values()]), data=st.data())
def test_the_split_of_the_bytes_changes_nothing(recording, data):
    edges = data.draw(st.lists(st.integers(0, len(recording.body)), max_size=12))
    split, _ = of(recording, edges=edges)
    assert split == of(recording)[0]


def test_without_a_last_word_the_running_usage_is_the_answers():
    stream = (
        role(usage=used(12, 0)) + text(usage=used(12, 1)) + chunk(finish="stop", usage=used(12, 2)) + DONE
    )
    answer, _ = assembled(stream)
    assert json.loads(answer.raw)["usage"] == {
        "prompt_tokens": 12,
        "total_tokens": 14,
        "completion_tokens": 2,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def test_a_usage_that_cannot_be_true_is_not_shown():
    stream = role() + text() + chunk(finish="stop") + final(used(12, -1)) + DONE
    answer, _ = assembled(stream, prompt_estimate=9)
    assert json.loads(answer.raw)["usage"] is None
    assert (answer.usage, answer.usage_source, answer.suspect) == (Usage(9, 1), "counted", True)


def test_what_else_chunks_say_is_kept():
    delta = {"reasoning_content": "hm", "audio": {"id": "a"}, "refusal": "no"}
    stream = event(
        {"service_tier": "flex", "choices": [{"index": 0, "delta": delta, "routed_experts": [[1]]}]}
    )
    content = json.loads(assembled(stream + chunk(finish="stop") + DONE)[0].raw)
    assert content["service_tier"] == "flex"
    (choice,) = content["choices"]
    assert choice["routed_experts"] == [[1]]
    message = choice["message"]
    assert (message["reasoning_content"], message["audio"], message["refusal"]) == ("hm", {"id": "a"}, "no")


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": 1},
        {"choices": [1]},
        {"choices": [{"index": "0", "delta": 1, "logprobs": 1, "token_ids": 1}]},
        {
            "choices": [
                {"delta": {"tool_calls": [1, {"index": [], "function": 1}, {"function": {"name": 1}}]}}
            ]
        },
        {"choices": [], "usage": 1},
        {"choices": [], "metrics": 1, "id": 5},
    ],
)
def test_odd_events_break_nothing(odd):
    answer, _ = assembled(event(odd) + role() + chunk(finish="stop") + DONE)
    assert json.loads(answer.raw)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("demanded", "parsed", "calls", "content"),
    [
        (False, False, False, ""),
        (False, False, True, None),
        (True, False, True, ""),
        (True, False, False, ""),
        (False, True, False, None),
        (False, True, True, None),
        (True, True, True, ""),
    ],
)
def test_no_content_is_null_or_empty_as_the_engine_has_it(demanded, parsed, calls, content):
    details = {"reasoning_tokens": 0} if parsed else None
    delta = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    stream = role() + (chunk(delta) if calls else b"") + chunk(finish="stop")
    stream += final(used(1, 1, completion_tokens_details=details)) + DONE
    body = {"tool_choice": "required"} if demanded else {"tool_choice": "auto"}
    message = json.loads(assembled(stream, body=body)[0].raw)["choices"][0]["message"]
    assert message["content"] == content
    assert ("tool_calls" in message) is calls


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        ("chat", {}, True),
        ("chat", {"logprobs": False, "echo": False, "stream_options": None, "n": 2}, True),
        ("chat", {"logprobs": True}, False),
        ("chat", {"prompt_logprobs": 0}, False),
        ("chat", {"stream_options": {}}, False),
        ("completions", {"logprobs": 2, "return_token_ids": True}, True),
        ("completions", {"echo": True}, False),
        ("completions", {"best_of": 2}, False),
        ("messages", {}, False),
        ("responses", {}, False),
        ("pooling", {}, False),
    ],
)
def test_only_what_streams_carry_is_assembled(dialect, body, expected):
    assert assembles(dialect, body, {}) is expected


def test_the_defaults_of_a_model_count_where_the_caller_said_nothing():
    assert not assembles("chat", {}, {"logprobs": True})
    assert assembles("chat", {"logprobs": False}, {"logprobs": True})


def test_tokens_of_a_text_begin_where_those_before_them_end():
    def piece(*tokens: str, **more) -> bytes:
        logprobs = {
            "text_offset": [0] * len(tokens),
            "tokens": [*tokens],
            "token_logprobs": [-1.0] * len(tokens),
        }
        return event({"choices": [{"index": 0, "text": "", "logprobs": logprobs, **more}]})

    stream = piece("Hel", "lo") + piece() + piece(" you", "!", finish_reason="length") + DONE
    (choice,) = json.loads(assembled(stream, COMPLETIONS)[0].raw)["choices"]
    assert choice["logprobs"]["text_offset"] == [0, 3, 5, 9]
    assert choice["logprobs"]["tokens"] == ["Hel", "lo", " you", "!"]
