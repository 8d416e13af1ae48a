from __future__ import annotations

import pytest

from app.simulator.text.template import Conversation, content_of, render
from app.simulator.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer()
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def count(*messages, **fields) -> int:
    return render(TOKENIZER, Conversation(list(messages), **fields)).count


def user(content) -> dict:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("content", "recorded"),
    [("hello", 12), ("short", 11), ("think", 13), ("unicode", 11), ("word " * 1000, 2010)],
)
def test_counts_as_recorded(content, recorded):
    assert count(user(content)) == recorded


def test_counts_roles_tools_and_thinking_as_recorded():
    assert count({"role": "wizard", "content": "x"}) == 13
    assert count({"role": "user"}) == 10
    assert count({"role": "system", "content": "You are a careful helper. " * 60}, user("hello")) == 618
    assert count(user("hello"), thinking=False) == 16
    assert count(user("weather in Paris"), tools=[TOOL]) == 105
    assert count(user("x"), answered=False) == 6


def test_content_is_text_parts_and_calls():
    assert (
        content_of({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]}) == "a\nb"
    )
    assert content_of({"content": None, "tool_calls": [{"id": "x"}]}) == '[{"id": "x"}]'


def test_salts_keep_blocks_apart():
    one, other = (
        render(TOKENIZER, Conversation([user("hello")], salt=salt)).blocks(4) for salt in ("", "tenant")
    )
    assert len(one) == len(other) == 3
    assert not set(one) & set(other)


def test_a_block_depends_on_all_before_it():
    first, second = (
        render(TOKENIZER, Conversation([user(text)])).blocks(4) for text in ("hello", "short one")
    )
    assert first[0] != second[0]
    assert first == render(TOKENIZER, Conversation([user("hello")])).blocks(4)


def test_continued_message_is_left_open():
    messages = [user("hello"), {"role": "assistant", "content": "Hel"}]
    prompt = render(TOKENIZER, Conversation(messages, continued=True))
    assert (prompt.text, prompt.said) == ("hello", "Hel")
    # The head of the answer was there before: what is new is what was said.
    assert prompt.count == count(user("hello")) + len(TOKENIZER.encode("Hel"))
