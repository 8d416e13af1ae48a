from __future__ import annotations

import json

import pytest

from app.core.failures import StreamBroken
from app.core.outcome import Usage
from app.wire.seam import Seam, closing, counted_on

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
OTHER = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 8, "model": "m"}
BEFORE = Usage(prompt=10, completion=4, cached=2)


def event(*choices: dict, **fields) -> bytes:
    content = {**OTHER, "choices": [{"index": 0, "finish_reason": None, **choice} for choice in choices]}
    return b"data: " + json.dumps(content | fields).encode() + b"\n\n"


def says(text: str, **fields) -> bytes:
    return event({"delta": {"content": text}}, **fields)


def joined(*events: bytes, again: str = "") -> list[dict]:
    seam = Seam(HEAD, BEFORE, again)
    raw = b"".join(seam.join(each) for each in events)
    return [json.loads(each[6:]) for each in raw.split(b"\n\n")[:-1]]


def texts(events: list[dict]) -> list[str]:
    return [event["choices"][0]["delta"].get("content", "") for event in events]


ROLE = event({"delta": {"role": "assistant", "content": ""}})


def test_role_is_not_told_twice():
    assert texts(joined(ROLE + says("Hello"))) == ["Hello"]
    (first,) = joined(event({"delta": {"role": "assistant", "content": "Hello"}}))
    assert first["choices"][0]["delta"] == {"content": "Hello"}


def test_events_look_like_those_before():
    (first,) = joined(says("Hello"))
    assert {name: first[name] for name in HEAD} == HEAD


def test_comments_and_the_end_pass():
    seam = Seam(HEAD, BEFORE, "")
    assert seam.join(b": ping\n\n") == b": ping\n\n"
    assert seam.join(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
    assert seam.join(ROLE) == b""


@pytest.mark.parametrize(
    ("again", "pieces", "left"),
    [
        ("\n\n", ["\n\n", "So"], ["So"]),
        ("\n\n", ["\n", "\n", "So"], ["So"]),
        ("\n\n", ["\n\nSo"], ["So"]),
        ("\n\n", ["\n\n\n"], ["\n"]),
        ("\n\n", ["So", "\n\n"], ["So", "\n\n"]),
        ("\n\n", ["\nSo", "\n"], ["So", "\n"]),
        (" ", [" So", " on"], ["So", " on"]),
        ("", ["\n\n"], ["\n\n"]),
    ],
)
def test_spaces_that_the_caller_has_are_taken_out(again, pieces, left):
    assert texts(joined(ROLE, *map(says, pieces), again=again)) == left


def test_finish_is_told_though_its_text_is_known():
    (last,) = joined(event({"delta": {"content": " "}, "finish_reason": "length"}), again=" ")
    assert (last["choices"][0]["finish_reason"], last["choices"][0]["delta"]) == ("length", {"content": ""})


def test_text_completions_are_joined_likewise():
    events = joined(event({"text": ""}), event({"text": " So"}))
    assert [each["choices"][0]["text"] for each in events] == ["", " So"]


def test_usage_counts_on():
    usage = {"prompt_tokens": 15, "total_tokens": 20, "completion_tokens": 5}
    running, final = joined(says("a", usage=usage), event(usage=usage))
    whole = {"prompt_tokens": 10, "total_tokens": 19, "completion_tokens": 9}
    assert (running["usage"], final["usage"]) == (whole, whole)


def test_details_are_those_of_the_callers_prompt():
    stated = {
        "prompt_tokens": 15,
        "total_tokens": 20,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 14, "x": 1},
        "completion_tokens_details": None,
    }
    whole = counted_on(BEFORE, stated)
    assert whole["prompt_tokens_details"] == {"cached_tokens": 2, "x": 1}
    assert whole["completion_tokens_details"] is None
    assert counted_on(BEFORE, {"completion_tokens": "x"})["completion_tokens"] == 4


def test_tool_call_may_follow_text():
    call = {"content": None, "tool_calls": [{"index": 0, "function": {"name": "f"}}]}
    (only,) = joined(event({"delta": call}))
    assert only["choices"][0]["delta"] == call


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_answer_that_turns_into_a_thought_does_not_fit(name):
    with pytest.raises(StreamBroken) as caught:
        joined(event({"delta": {name: "so"}}))
    assert caught.value.reason == "misfit"


def test_what_cannot_be_read_does_not_pass():
    with pytest.raises(StreamBroken) as caught:
        Seam(HEAD, BEFORE, "").join(b'data: {"choices": [{\n\n')
    assert caught.value.reason == "garbled"


def test_end_that_was_lost_is_made_up():
    assert closing("chat", HEAD) == b"data: [DONE]\n\n"
    raw = closing("chat", HEAD, finish="length", usage=Usage(3, 4))
    first, second, done, rest = raw.split(b"\n\n")
    finish, usage = json.loads(first[6:]), json.loads(second[6:])
    assert finish == HEAD | {"choices": finish["choices"]}
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "length")
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}
    assert (done, rest) == (b"data: [DONE]", b"")
    text = json.loads(closing("completions", HEAD, finish="length").split(b"\n\n")[0][6:])
    assert text["choices"][0]["text"] == ""
