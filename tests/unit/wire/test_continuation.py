from __future__ import annotations

import pytest

from app.wire.continuation import continuation, tokens_left

USER = {"role": "user", "content": "hi"}


def chat(text: str, generated: int = 3, **fields):
    return continuation("chat", {"model": "m", "messages": [USER], **fields}, text, generated)


def test_what_was_delivered_becomes_the_last_message_and_is_continued():
    body, again = chat("Hello, you", temperature=0.5)
    assert body["messages"] == [USER, {"role": "assistant", "content": "Hello, you"}]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["temperature"], again) == (0.5, "")


def test_spaces_at_the_end_are_written_again():
    body, again = chat("Hello.\n \n")
    assert body["messages"][-1]["content"] == "Hello."
    assert again == "\n \n"


@pytest.mark.parametrize("text", ["", " \n"])
def test_where_nothing_was_delivered_the_request_is_the_same(text):
    body, again = chat(text, 0)
    assert body == {"model": "m", "messages": [USER]}
    assert again == text


def test_message_that_the_caller_began_is_continued():
    messages = [USER, {"role": "assistant", "content": "Well, ", "name": "x"}]
    body, _ = continuation(
        "chat",
        {"messages": messages, "continue_final_message": True, "add_generation_prompt": False},
        "hello",
        1,
    )
    assert body["messages"] == [USER, {"role": "assistant", "content": "Well, hello", "name": "x"}]
    assert body["add_generation_prompt"] is False
    assert messages[-1]["content"] == "Well, "


def test_limits_are_what_is_left_of_them():
    body, _ = chat("Hello", 3, max_tokens=10, max_completion_tokens=8, min_tokens=5)
    assert (body["max_tokens"], body["max_completion_tokens"], body["min_tokens"]) == (7, 5, 2)
    assert chat("Hello", 3, min_tokens=2)[0]["min_tokens"] == 0
    assert "max_tokens" not in chat("Hello")[0]


def test_text_is_added_to_the_prompt_as_it_is():
    given = {"prompt": "Say: ", "max_tokens": 10}
    body, again = continuation("completions", given, "Hello \n", 3)
    assert (body, again) == ({"prompt": "Say: Hello \n", "max_tokens": 7}, "")
    assert given["prompt"] == "Say: "


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 2),
        ({"max_tokens": 3}, 0),
        ({"max_tokens": 5, "max_completion_tokens": 4}, 1),
    ],
)
def test_tokens_that_are_left(body, left):
    assert tokens_left(body, 3) == left
