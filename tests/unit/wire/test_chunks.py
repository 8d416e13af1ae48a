import json

import pytest

from app.core.outcome import Usage
from app.wire.chunks import Chunks
from app.wire.edit import Fate
from app.wire.meter import Meter
from tests.unit.wire.streams import chunk, event, final, role, text, used


def codec(*, model=None, wanted="none", n=1, choices=None, dialect="chat") -> Chunks:
    return Chunks(dialect, Meter(n=n), model=model, wanted=wanted, choices=choices or n)


def edit(reader: Chunks, raw: bytes) -> tuple[Fate, dict]:
    content = json.loads(raw[5:])
    return reader.edit(raw.strip(), content), content


def begun(**options) -> Chunks:
    reader = codec(**options)
    for index in range(options.get("n", 1)):
        edit(reader, role(index))
    return reader


def spliced(reader: Chunks, raw: bytes) -> bytes | None:
    return reader.splice(raw.strip())


def test_nothing_is_spliced_before_the_stream_is_known():
    assert spliced(codec(), text()) is None


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"\n", b"\n\n", b'\0"finish_reason":null', b'0,"finish_reason":null,\n\n']
)
def test_nothing_odd_is_spliced_whether_the_stream_is_known_or_not(raw):
    assert codec().splice(raw) is None
    assert begun().splice(raw) is None


def test_choices_may_take_turns_and_new_ones_are_decoded():
    reader = begun(n=2, model="public")
    for index, tokens in [(0, 1), (1, 1), (1, 2), (0, 2), (0, 3)]:
        raw = text(index=index, usage=used(12, tokens))
        assert spliced(reader, raw) == text(index=index, model="public").strip()
    assert {key: choice.completion for key, choice in reader._meter.choices.items()} == {b"0": 3, b"1": 2}
    assert spliced(reader, text(index=2)) is None
    assert spliced(reader, text(index=0)) == text(index=0, model="public").strip()


def test_an_ordinary_event_that_needs_no_change_passes_as_it_is():
    raw = text().strip()
    assert begun().splice(raw) is raw
    assert begun(model="tiny").splice(raw) is raw


def test_u43_the_model_is_renamed():
    reader = begun(model='the "public" name ü')
    assert spliced(reader, text()) == text(model='the "public" name ü').strip()


def test_running_usage_is_read_and_cut_out():
    reader = begun(model="public")
    assert spliced(reader, text(usage=used(12, 3))) == text(model="public").strip()
    assert reader._meter.usage == Usage(12, 3)


@pytest.mark.parametrize(
    "details",
    [
        {"completion_tokens_details": {"reasoning_tokens": 2}},
        {"prompt_tokens_details": {"cached_tokens": 8, "created_cache_tokens": 0}},
    ],
)
def test_running_usage_with_details_is_spliced_too(details):
    reader = begun()
    assert spliced(reader, text(usage=used(12, 3, **details))) == text().strip()
    assert reader._meter.usage == Usage(
        12, 3, 8 * ("prompt_tokens_details" in details), 2 * ("completion_tokens_details" in details)
    )


def test_usage_in_the_middle_leaves_what_follows():
    reader = begun()
    raw = text(usage=used(12, 3)).strip()[:-1] + b',"prompt_token_ids":null}'
    assert reader.splice(raw) == text().strip()[:-1] + b',"prompt_token_ids":null}'


def test_a_caller_who_wants_continuous_usage_gets_it():
    raw = text(usage=used(12, 3)).strip()
    assert begun(wanted="continuous").splice(raw) is raw
    assert (
        begun(wanted="continuous", model="public").splice(raw)
        == text(usage=used(12, 3), model="public").strip()
    )


def test_u42_a_smaller_running_count_changes_nothing():
    reader = begun()
    spliced(reader, text(usage=used(12, 5)))
    assert spliced(reader, text(usage=used(12, 3))) == text().strip()
    assert reader._meter.usage == Usage(12, 5)


@pytest.mark.parametrize(
    "raw",
    [
        text(finish="stop"),
        text(index=1),
        text(usage={"prompt_tokens": -1}),
        text(usage="x"),
        text(model="other"),
        final(used(1, 1)),
        event({"choices": []}),
        b"data: [DONE]\n\n",
        b": ping\n\n",
        b"event: x\n" + text(),
        text().replace(b'"finish_reason":null,', b""),
    ],
)
def test_events_out_of_the_ordinary_are_decoded(raw):
    assert spliced(begun(), raw) is None


def test_events_with_two_choices_are_decoded():
    content = json.loads(text()[5:])
    content["choices"].append(content["choices"][0] | {"index": 1, "finish_reason": "stop"})
    reader = begun()
    assert spliced(reader, event(content)) is None
    edit(reader, event(content))
    assert [choice.finish for choice in reader._meter.choices.values()] == [None, "stop"]


def test_p10_no_text_looks_like_a_key():
    evil = ']}],"usage":{"prompt_tokens":1,"total_tokens":1,"completion_tokens":999}} "finish_reason":"stop" \n\ndata: [DONE]\n\n'
    reader = begun(model="public")
    assert spliced(reader, text(evil, usage=used(12, 3))) == text(evil, model="public").strip()
    assert reader._meter.usage == Usage(12, 3)
    assert not reader.satisfied


def test_choices_are_metered_apart():
    reader = begun(n=2)
    spliced(reader, text(index=0, usage=used(12, 3)))
    spliced(reader, text(index=1, usage=used(12, 2)))
    assert reader._meter.usage == Usage(12, 5)


def test_the_role_event_is_no_content_and_others_are():
    reader = begun()
    assert reader._meter.events == 0
    spliced(reader, text())
    edit(reader, text(finish="length"))
    edit(reader, chunk(finish="stop"))
    edit(reader, event({"choices": [{"index": 0, "text": "x"}]}))
    edit(reader, event({"choices": [{"index": 0, "delta": {"tool_calls": [{}]}}]}))
    edit(reader, event({"choices": [{"index": 0, "delta": None}]}))
    assert reader._meter.events == 4


def test_running_usage_on_a_decoded_event_is_read_and_cut_out():
    fate, content = edit(reader := codec(), role(usage=used(12, 0)))
    assert (fate, content) == (Fate.EDITED, json.loads(role()[5:]))
    assert reader._meter.usage == Usage(12, 0)
    fate, content = edit(codec(wanted="continuous"), role(usage=used(12, 0)))
    assert (fate, content["usage"]["prompt_tokens"]) == (Fate.KEEP, 12)


def test_a_null_usage_is_left_alone():
    content = json.loads(text()[5:]) | {"usage": None}
    assert codec().edit(event(content), content) is Fate.KEEP


@pytest.mark.parametrize(
    ("wanted", "fate"), [("none", Fate.DROP), ("final", Fate.KEEP), ("continuous", Fate.KEEP)]
)
def test_the_usage_event_is_for_those_who_asked(wanted, fate):
    reader = codec(wanted=wanted)
    assert edit(reader, final(used(12, 20)))[0] is fate
    assert reader._meter.final == Usage(12, 20)


def test_the_usage_event_shows_the_public_name():
    fate, content = edit(codec(wanted="final", model="public"), final(used(12, 20)))
    assert (fate, content["model"]) == (Fate.EDITED, "public")


def test_u37_a_forged_final_usage_leaves_the_running_one():
    reader = begun()
    spliced(reader, text(usage=used(12, 3)))
    edit(reader, final(used(12, -20)))
    assert reader._meter.usage == Usage(12, 3)
    assert reader._meter.suspect


def test_u37_a_forged_second_final_usage_leaves_the_first():
    reader = begun()
    edit(reader, final(used(12, 20)))
    edit(reader, final(used(12, "20")))
    assert reader._meter.usage == Usage(12, 20)


def test_a_choice_that_finished_is_satisfied():
    reader = begun()
    assert not reader.satisfied
    edit(reader, chunk(finish="stop"))
    assert reader.satisfied
    assert reader.finish == "stop"


def test_every_choice_must_finish():
    reader = begun(n=2)
    edit(reader, chunk(finish="stop"))
    assert not reader.satisfied
    edit(reader, chunk(index=1, finish="length"))
    assert reader.satisfied
    assert reader.finish == "length"


def test_choices_that_never_appeared_are_missed():
    reader = codec(n=2)
    edit(reader, role(0))
    edit(reader, chunk(finish="stop"))
    assert not reader.satisfied


def test_a_stream_without_any_choice_is_not_satisfied():
    assert not codec().satisfied


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_engine_that_gave_up_is_not_satisfied_and_its_event_not_shown(reason):
    reader = begun(n=2)
    assert edit(reader, text(finish=reason, usage=used(12, 3)))[0] is Fate.DROP
    edit(reader, chunk(index=1, finish="stop"))
    assert not reader.satisfied
    assert reader.finish == reason
    assert reader._meter.usage == Usage(12, 3)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": "x"},
        {"choices": [None, 1, "x"]},
        {"choices": [{"index": "x", "finish_reason": ["a"]}]},
        {"choices": [None], "usage": used(1, 1)},
        {"choices": [{"index": True, "delta": []}]},
        {"choices": {"x": 1}, "usage": {}},
    ],
)
def test_shapes_nobody_promised_raise_nothing(content):
    codec(model="m").edit(event(content), content)


def test_completions_are_spliced_alike():
    head = b'data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"%s","choices":[{"index":0,"text":"a"'
    tail = b',"logprobs":null,"finish_reason":null,"stop_reason":null}]%s}'
    reader = codec(model="public", dialect="completions")
    raw = head % b"tiny" + tail % b',"usage":{"prompt_tokens":2,"total_tokens":3,"completion_tokens":1}'
    reader.edit(raw, json.loads(raw[5:]))
    assert reader.splice(raw) == head % b"public" + tail % b""
