"""What each surface's answers say they took, whole and streamed: every kind of token is kept."""

from __future__ import annotations

import pytest

from app.core.outcome import Usage
from app.wire.reply import read_reply
from app.wire.stream import StreamReader
from app.wire.surfaces import SURFACES
from tests.unit.wire.streams import event, recordings

RECORDED = {one.name: one for streamed in (False, True) for one in recordings(streamed=streamed)}
EXPECTED = {
    "chat_nonstream": Usage(12, 50),
    "chat_n2": Usage(11, 8),
    "prefix_second": Usage(618, 4, cached=512),
    "reasonq3_think": Usage(13, 49, reasoning=36),
    "chat_n2_stream": Usage(11, 8),
    "prefix_second_stream": Usage(618, 4, cached=512),
    "reasonq3_stream_think": Usage(13, 49, reasoning=36),
    "completions": Usage(2, 5),
    "completions_list": Usage(3, 6),
    "completions_stream_usage": Usage(2, 3),
    "completions_list_stream_usage_continuous": Usage(8, 6),
    "responses": Usage(12, 50),
    "reasonq3_responses_think": Usage(13, 49, reasoning=36),
    "responses_stream": Usage(11, 4),
    "messages": Usage(12, 50),
    "messages_tools": Usage(105, 30),
    "messages_stream": Usage(11, 4),
    "embed_one": Usage(5),
    "embed_b64": Usage(2),
    "embed_messages_form": Usage(6),
    "embed_rerank": Usage(7),
    "embed_score": Usage(7),
    "tokenize": Usage(),
    "detokenize": Usage(),
}
_RESPONSE = {
    "input_tokens": 40,
    "input_tokens_details": {"cached_tokens": 32},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 6},
}
_MESSAGE = {
    "input_tokens": 8,
    "cache_read_input_tokens": 30,
    "cache_creation_input_tokens": 2,
    "output_tokens": 9,
}
_CHAT = {
    "prompt_tokens": 40,
    "completion_tokens": 9,
    "total_tokens": 49,
    "prompt_tokens_details": {"cached_tokens": 32},
    "completion_tokens_details": {"reasoning_tokens": 6},
}
DETAILED = {
    "/v1/chat/completions": (_CHAT, Usage(40, 9, 32, 6)),
    "/v1/completions": (_CHAT, Usage(40, 9, 32, 6)),
    "/v1/responses": (_RESPONSE, Usage(40, 9, 32, 6)),
    "/v1/messages": (_MESSAGE, Usage(40, 9, 30)),
    "/v1/embeddings": (_CHAT | {"completion_tokens": 0, "completion_tokens_details": None}, Usage(40, 0, 32)),
    "/v1/rerank": ({"prompt_tokens": 40, "total_tokens": 40}, Usage(40)),
    "/v1/score": ({"prompt_tokens": 40, "total_tokens": 40}, Usage(40)),
}


def last_events(path: str, usage: dict) -> list[dict]:
    """The events of a stream that say something of its usage."""
    if path == "/v1/responses":
        return [{"type": "response.completed", "response": {"status": "completed", "usage": usage}}]
    if path == "/v1/messages":
        begun = usage | {"output_tokens": 0}
        ended = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": usage["output_tokens"]}}
        return [
            {"type": "message_start", "message": {"usage": begun}},
            {"type": "message_delta", **ended},
        ]
    return [{"choices": [{"index": 0, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]


@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_usage_is_kept_on_every_surface(name):
    recording = RECORDED[name]
    if recording.streamed:
        reader = StreamReader(recording.surface, **recording.choices)
        reader.feed(recording.body)
        assert (reader.usage, reader.usage_source) == (EXPECTED[name], "upstream")
        assert not reader.suspect
    else:
        answer = read_reply(recording.surface, recording.body)
        assert (answer.usage, answer.usage_source, answer.suspect) == (EXPECTED[name], "upstream", False)


def test_every_surface_is_in_the_table():
    assert {RECORDED[name].path for name in EXPECTED} == {*SURFACES}


@pytest.mark.parametrize("path", DETAILED)
def test_all_kinds_of_tokens_are_read_where_the_surface_puts_them(path):
    usage, expected = DETAILED[path]
    answer = read_reply(SURFACES[path], event({"usage": usage})[6:])
    assert (answer.usage, answer.suspect) == (expected, False)


@pytest.mark.parametrize("path", [path for path in DETAILED if SURFACES[path].streams])
def test_a_stream_says_the_same(path):
    usage, expected = DETAILED[path]
    reader = StreamReader(SURFACES[path])
    for content in last_events(path, usage):
        reader.feed(event(content))
    assert (reader.usage, reader.usage_source, reader.suspect) == (expected, "upstream", False)
