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


def played(script, at_most: int = 200) -> list:
    tokens = []
    for token in script.play():
        tokens.append(token)
        if token is END or len(tokens) == at_most:
            return tokens
    return tokens


def raw(tokens) -> bytes:
    return b"".join(token.raw for token in tokens)


@pytest.mark.parametrize("prompt", ["hello", "short", "unicode", "count", "think", "9 tokens"])
def test_reply_goes_on_after_any_part_of_it(prompt):
    script = REPLIES.chat(prompt, tools=False)
    whole = raw(script.tokens).decode()
    for size in range(len(whole) + 1):
        rest = played(REPLIES.continued(script, whole[:size]))
        assert raw(rest).decode() == whole[size:]
        assert rest[-1] is END


@pytest.mark.parametrize(
    "prompt", ["Say hello", "be short", "count", "unicode", "8 tokens please: ", "no keyword"]
)
def test_text_goes_on_after_any_part_of_it(prompt):
    whole = raw(REPLIES.completion(prompt).tokens).decode()
    for size in range(len(whole) + 1):
        rest = played(REPLIES.completion(prompt + whole[:size]))
        assert raw(rest).decode() == whole[size:]
        assert rest[-1] is END


def test_endless_reply_goes_on_in_the_midst_of_a_round():
    script = REPLIES.chat("forever", tools=False)
    assert raw(played(REPLIES.continued(script, "and onand o"), 3)) == b"nand on"
    assert raw(played(REPLIES.continued(script, "and on"), 3)) == b"and onand"


def test_tokens_that_were_said_are_not_said_again():
    script = REPLIES.chat("9 tokens", tools=False)
    assert len(played(REPLIES.continued(script, "and onand"))) == 9 - 3


def test_beginning_of_something_else_is_answered_in_full():
    script = REPLIES.chat("short", tools=False)
    assert REPLIES.continued(script, "Sure: ") is script
