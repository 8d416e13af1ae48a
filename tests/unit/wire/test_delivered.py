from __future__ import annotations

import json

import pytest

from app.wire.delivered import UNREAD, Delivered

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
DONE = b"data: [DONE]\n\n"


def event(*choices: dict, **fields) -> bytes:
    content = {**HEAD, "choices": [{"index": 0, **choice} for choice in choices], **fields}
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def says(text: str) -> bytes:
    return event({"delta": {"content": text}, "finish_reason": None})


def seen(*events: bytes) -> Delivered:
    delivered = Delivered()
    for raw in events:
        delivered.note(raw)
    return delivered


ROLE = event({"delta": {"role": "assistant", "content": ""}, "finish_reason": None})


def test_text_of_a_chat_is_joined():
    delivered = seen(ROLE, says("He") + says("llo"), b": ping\n\n", says(" 🌍\n"))
    assert delivered.text == delivered.text == "Hello 🌍\n"
    assert delivered.head == HEAD
    assert (delivered.finish, delivered.usage_told, delivered.text_alone) == (None, False, True)


def test_text_of_a_completion_is_joined():
    delivered = seen(event({"text": "He"}), event({"text": "llo", "finish_reason": "stop"}))
    assert (delivered.text, delivered.finish, delivered.text_alone) == ("Hello", "stop", True)


def test_end_is_noticed():
    delivered = seen(ROLE, event({"delta": {}, "finish_reason": "length"}))
    assert (delivered.finish, delivered.usage_told) == ("length", False)
    delivered.note(event(usage={"prompt_tokens": 1}) + DONE)
    assert delivered.usage_told


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"reasoning": "so"}},
        {"delta": {"tool_calls": [{"index": 0}]}},
        {"delta": {"refusal": "no"}},
        {"delta": {"content": "a"}, "logprobs": {"content": []}},
        {"delta": {"content": "a"}, "token_ids": [1]},
        {"index": 1, "delta": {"content": "a"}},
    ],
)
def test_anything_but_the_text_of_one_choice_is_noticed(choice):
    assert not seen(ROLE, event(choice)).text_alone


def test_fields_without_a_value_are_nothing():
    assert seen(
        event({"delta": {"content": "a", "reasoning": None, "tool_calls": []}, "logprobs": None})
    ).text_alone


def test_what_cannot_be_read_is_noticed():
    delivered = seen(ROLE, says("He"), b'data: {"choices": [{"index":0,"delta":{"content":"l\n\n')
    assert (delivered.text, delivered.text_alone) == ("He", False)


def test_of_a_long_stream_only_the_text_is_kept():
    delivered = Delivered()
    longest = 0
    for _ in range(1000):
        delivered.note(says("word "))
        longest = max(longest, len(delivered._unread))
    assert longest <= UNREAD
    assert delivered.text == "word " * 1000
