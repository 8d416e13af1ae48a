from __future__ import annotations

import pytest

from app.simulator.text.replies import Replies
from app.simulator.text.tokenizer import END, Tokenizer

REPLIES = Replies(Tokenizer())


def text(script) -> str:
    return b"".join(token.raw for token in script.tokens).decode()


@pytest.mark.parametrize(
    ("prompt", "start", "tokens"),
    [
        ("hello", "Hello! I am", 50),
        ("nothing known", "Hello! I am", 50),
        ("be SHORT", "OK.", 4),
        ("think hard", "<think>\nThe user", 49),
        ("unicode", "你好,世界!", 82),
        ("count", "1 2 3 4", 110),
        ("12 tokens", "and on", 12),
        ("0 tokens", "", 1),
    ],
)
def test_is_chosen_by_keyword(prompt, start, tokens):
    script = REPLIES.chat(prompt, tools=False)
    assert text(script).startswith(start)
    assert (len(script.tokens), script.tokens[-1]) == (tokens, END)


def test_forever_has_no_end():
    script = REPLIES.chat("forever", tools=False)
    assert END not in script.tokens


def test_only_the_end_of_a_long_prompt_is_searched():
    assert text(REPLIES.chat("short" + " x" * 5000, tools=False)).startswith("Hello")


def test_weather_calls_a_tool_only_where_there_is_one():
    assert text(REPLIES.chat("weather in Paris", tools=False)).startswith("Hello")
    one, both = (
        REPLIES.chat("weather in Paris", tools=True),
        REPLIES.chat("weather in both cities", tools=True),
    )
    assert (len(one.tokens), len(both.tokens)) == (30, 61)
    assert text(one) == '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    assert text(both).count("<tool_call>") == 2


def test_a_completion_goes_on_after_hello():
    assert text(REPLIES.completion("hello")).startswith("! I am a tiny")
    assert text(REPLIES.completion("count to ten")).startswith("1 2")
    assert len(REPLIES.completion("9 tokens").tokens) == 9
    assert text(REPLIES.completion("weather")).startswith("Hello")
