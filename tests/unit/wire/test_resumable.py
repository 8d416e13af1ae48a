from __future__ import annotations

import pytest

from app.wire.resumable import at_a_stop, refusal

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
TEXT = {"prompt": "hi", "max_tokens": 9}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 1, "logprobs": False, "echo": None, "max_tokens": 5, "seed": 1, "ignore_eos": True},
        {"stop": ["a"], "stop_token_ids": [1], "min_tokens": 3, "response_format": {"type": "text"}},
    ],
)
@pytest.mark.parametrize(("dialect", "body"), [("chat", CHAT), ("completions", TEXT)])
def test_ordinary_streams_can_be_carried_on(dialect, body, fields):
    assert refusal(dialect, body | fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": TOOLS},
        {"tools": TOOLS, "tool_choice": "auto"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {
            "messages": [*CHAT["messages"], {"role": "assistant", "content": "So"}],
            "continue_final_message": True,
            "add_generation_prompt": False,
        },
    ],
)
def test_chats_that_can_be_carried_on(fields):
    assert refusal("chat", CHAT | fields) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("echo", True),
        ("logprobs", True),
        ("logprobs", 0),
        ("prompt_logprobs", 0),
        ("return_token_ids", True),
        ("truncate_prompt_tokens", 5),
        ("structured_outputs", {"json": {}}),
        ("guided_json", {}),
        ("guided_regex", "a"),
        ("guided_choice", ["a"]),
        ("guided_grammar", "a"),
        ("structural_tag", "a"),
        ("use_beam_search", True),
        ("include_stop_str_in_output", True),
        ("prompt_embeds", "a"),
        ("kv_transfer_params", {}),
        ("ec_transfer_params", {}),
        ("n", 2),
        ("best_of", 2),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
    ],
)
@pytest.mark.parametrize(("dialect", "body"), [("chat", CHAT), ("completions", TEXT)])
def test_what_would_begin_anew_is_not_carried_on(dialect, body, name, value):
    assert refusal(dialect, body | {name: value}) == name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tool_choice": "required", "tools": TOOLS}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": TOOLS}, "tool_choice"),
        ({"include_reasoning": False}, "include_reasoning"),
        ({"audio": {}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"continue_final_message": True, "messages": []}, "continue_final_message"),
        (
            {
                "continue_final_message": True,
                "messages": [{"role": "assistant", "content": [{"text": "So"}]}],
            },
            "continue_final_message",
        ),
    ],
)
def test_chats_that_are_not_carried_on(fields, name):
    assert refusal("chat", CHAT | fields) == name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"max_tokens": None}, "max_tokens"),
    ],
)
def test_texts_that_are_not_carried_on(fields, name):
    assert refusal("completions", TEXT | fields) == name


@pytest.mark.parametrize("dialect", ["responses", "messages", "pooling", "tokenize"])
def test_other_surfaces_are_not_carried_on(dialect):
    assert refusal(dialect, {}) == "surface"


@pytest.mark.parametrize(
    ("text", "stop", "may"),
    [
        ("so", None, False),
        ("so", "END", False),
        ("so E", "END", True),
        ("so EN", ["x", "END"], True),
        ("so END", "END", False),
        ("a\n", "\n\n", True),
        ("a\n", "\n", False),
        ("aba", "abab", True),
        ("", "END", False),
        ("so", "", False),
        ("x", [1, None], False),
    ],
)
def test_text_that_ends_in_the_beginning_of_a_stop(text, stop, may):
    assert at_a_stop(text, stop) is may
